"""Fingerprints of ids: 128 bits each, made of whole columns by numpy alone.

An id is read as 32-bit words, and four sums of them are made, each with factors of its own (multilinear hashing, Lemire
and Kaser 2014). With random factors two ids are taken for one with a probability of 2^-128, however much they are
alike. The factors are fixed here, so that fingerprints may be stored. Who knows them can make two ids look like one;
but who may send ids can send the same one twice anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fivefold.core.types import Type
from fivefold.features.kernel.arrays import Array, Words

LONGEST = 64
"""Bytes of the longest text that is summed; of a longer one the fingerprint is the begin of its SHA-256."""

SIZE = 16
"""Bytes of a fingerprint."""

_FACTORS = np.frombuffer(hashlib.shake_256(b"fivefold ids").digest(32 * (LONGEST // 4 + 2)), "<u8").reshape(-1, 4)


class Prints(NamedTuple):
    """Fingerprints: the upper and the lower 64 bits of each."""

    high: Words
    low: Words

    def __len__(self) -> int:
        return len(self.high)

    def take(self, which: Array) -> Prints:
        """Those at some places, or where a flag is set."""
        return Prints(self.high[which], self.low[which])

    def lists(self) -> tuple[list[int], list[int]]:
        """Both halves as numbers of Python."""
        return self.high.tolist(), self.low.tolist()


NONE = Prints(np.zeros(0, np.uint64), np.zeros(0, np.uint64))


def prints_of(ids: pa.Array, kind: Type) -> Prints:
    """The fingerprints of ids of a type, none of them null."""
    if not len(ids):
        return NONE
    if kind is not Type.STRING:
        words = np.ascontiguousarray(_numbers(ids, kind)).view("<u4").reshape(-1, 2)
        return _sums(words, np.full(len(ids), 8))
    ids = ids.cast(pa.large_binary())
    offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    sizes = np.diff(offsets)
    long = np.flatnonzero(sizes > LONGEST)
    found = _sums(_words(ids, offsets[:-1], np.where(sizes > LONGEST, 0, sizes)), sizes)
    for i in long.tolist():
        digest = hashlib.sha256(ids[i].as_py()).digest()
        found.high[i], found.low[i] = np.frombuffer(digest[:SIZE], "<u8")
    return found


def joined(parts: Sequence[Prints]) -> Prints:
    """Fingerprints in order of their upper half."""
    high = np.concatenate([p.high for p in parts])
    order = np.argsort(high)
    return Prints(high[order], np.concatenate([p.low for p in parts])[order])


def among(sought: Prints, held: Prints) -> Array:
    """Which fingerprints are among others, that are in order."""
    start, stop = (np.searchsorted(held.high, sought.high, side) for side in ("left", "right"))
    out = np.zeros(len(sought), np.bool_)
    there = np.flatnonzero(stop > start)
    out[there] = held.low[start[there]] == sought.low[there]
    for i in there[(stop - start)[there] > 1].tolist():
        out[i] = (held.low[start[i] : stop[i]] == sought.low[i]).any()
    return out


def pack(prints: Prints) -> bytes:
    """Fingerprints as bytes."""
    return prints.high.astype("<u8").tobytes() + prints.low.astype("<u8").tobytes()


def unpack(raw: bytes) -> Prints:
    """The fingerprints that were packed."""
    both = np.frombuffer(raw, "<u8").astype(np.uint64, copy=False)
    return Prints(both[: len(both) // 2], both[len(both) // 2 :])


def _numbers(ids: pa.Array, kind: Type) -> Array:
    if kind is Type.FLOAT64:
        return np.asarray(ids.to_numpy(zero_copy_only=False), "<f8")
    return np.asarray(ids.cast(pa.int64()).to_numpy(), "<i8")


def _words(texts: pa.Array, starts: Array, sizes: Array) -> Array:
    """The bytes of texts as rows of 32-bit words, zeros behind them."""
    width = -(-int(sizes.max()) // 4) * 4
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    if width and int(sizes.min()) == width:
        # nearly all ids are made of as many bytes as the next
        return data[starts[0] : starts[0] + width * len(starts)].view("<u4").reshape(len(starts), -1)
    places = np.arange(width)
    inside = places < sizes[:, None]
    out = np.zeros(inside.shape, np.uint8)
    out[inside] = data[(starts[:, None] + places)[inside]]
    return out.view("<u4")


def _sums(words: Array, sizes: Array) -> Prints:
    every = _FACTORS[0] + sizes.astype(np.uint64)[:, None] * _FACTORS[1]
    for n in range(words.shape[1]):
        every += words[:, n].astype(np.uint64)[:, None] * _FACTORS[n + 2]
    upper = every >> np.uint64(32)
    shift = np.uint64(32)
    return Prints(upper[:, 0] << shift | upper[:, 1], upper[:, 2] << shift | upper[:, 3])
