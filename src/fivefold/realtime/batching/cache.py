"""Predictions that were made already, by all that they were made from."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

MOST_BYTES = 32 << 20
"""What one endpoint's cache holds, keys and bookkeeping counted in."""
ENTRY_BYTES = 250
"""What an entry takes besides its prediction."""
JITTER = 0.1
"""By what part the life of an entry is shortened or lengthened, so that those made together do not end together."""

_packed = msgspec.msgpack.Encoder().encode
_sorted = msgspec.msgpack.Encoder(order="deterministic").encode


def digest(parts: Sequence[bytes]) -> bytes:
    """BLAKE2b-256 over parts, each with its length before it: the same bytes split otherwise are something else."""
    made = hashlib.blake2b(digest_size=32)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def key_of(made_by: bytes, made_of: bytes, inputs: Sequence[Any], features: Sequence[Any]) -> bytes:
    """The key of a row's prediction: who makes it, what its features were made of, its inputs, and their values."""
    return digest((made_by, made_of, _packed(inputs), _packed(features)))


def seen_bytes(seen: Mapping[str, Any]) -> bytes:
    """What features were made of, in bytes that do not depend on the order of views or partitions."""
    return _sorted({name: msgspec.to_builtins(s, str_keys=True) for name, s in seen.items()})


def maker(*names: str) -> bytes:
    """Who makes predictions: tenant, endpoint, version and whatever else makes them differ."""
    return digest([n.encode() for n in names])


class PredictionCache:
    """Predictions by key, for `seconds` each, in so many bytes; the one used longest ago goes first.

    Only predictions are kept, no errors: what failed is asked again.
    """

    def __init__(
        self,
        seconds: float,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._seconds, self._most, self._clock, self._chance = seconds, most_bytes, clock, chance
        self._held: OrderedDict[bytes, tuple[Any, float, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        self.hits = self.misses = self.shared = 0

    def find(self, keys: Sequence[bytes]) -> tuple[list[Any], list[int]]:
        """Predictions by place (None where there is none), and the places that are to be computed.

        Of places with one key only the first is computed; the others are given what it gets, by `fill`.
        """
        found: list[Any] = [None] * len(keys)
        missing: dict[bytes, int] = {}
        with self._lock:
            now = self._clock()
            for i, key in enumerate(keys):
                held = self._held.get(key)
                if held is not None and now < held[1]:
                    self._held.move_to_end(key)
                    found[i] = held[0]
                    self.hits += 1
                elif key in missing:
                    self.shared += 1
                else:
                    missing[key] = i
                    self.misses += 1
        return found, list(missing.values())

    def fill(self, keys: Sequence[bytes], found: list[Any], places: Sequence[int], made: Sequence[Any]) -> list[Any]:
        """All predictions, those `made` of `places` put in and kept; an exception is given to its places, not kept."""
        by_key = {keys[i]: m for i, m in zip(places, made, strict=True)}
        with self._lock:
            now = self._clock()
            for key, prediction in by_key.items():
                if not isinstance(prediction, Exception):
                    self._keep(key, prediction, now)
        return [by_key.get(key) if f is None else f for key, f in zip(keys, found, strict=True)]

    def counts(self) -> dict[str, int]:
        """Rows whose prediction was there, was being made for another row, or had to be made; and the size."""
        return {
            "hits": self.hits, "waits": self.shared, "misses": self.misses,
            "entries": len(self._held), "bytes": self.bytes,
        }  # fmt: skip

    def _keep(self, key: bytes, prediction: Any, now: float) -> None:
        size = ENTRY_BYTES + (32 * len(prediction) if isinstance(prediction, list) else 0)
        if size > self._most:
            return
        before = self._held.pop(key, None)
        if before is not None:
            self.bytes -= before[2]
        life = self._seconds * (1 + JITTER * (2 * self._chance() - 1))
        self._held[key] = (prediction, now + life, size)
        self.bytes += size
        while self.bytes > self._most:
            _, (_, _, gone) = self._held.popitem(last=False)
            self.bytes -= gone
