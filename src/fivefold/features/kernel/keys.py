"""Entities: one small number for each distinct key of the spine, the same for every source that has those keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.features.kernel.arrays import Codes, Ints

_TABLE = 1 << 22  # up to this many combinations a direct table is cheaper than a search


@dataclass(frozen=True)
class Entities:
    """`codes` has a number below `count` for each spine row, -1 where a key is null.

    A composite key is numbered key by key: the number so far and the next key's code make a pair, `pairs` holds the
    sorted pairs that occur, and the place there is the number that goes on. So nothing overflows, however many keys.
    """

    codes: Codes
    count: int
    dictionaries: tuple[pa.Array, ...]
    pairs: tuple[Ints, ...]


def entities(keys: Sequence[pa.Array]) -> Entities:
    """Number the distinct keys of a spine, given its key columns."""
    encoded = [_encoded(key) for key in keys]
    dictionaries = tuple(e.dictionary for e in encoded)
    codes = _indices(encoded[0])
    count = len(dictionaries[0])
    pairs = []
    for later in encoded[1:]:
        width = len(later.dictionary)
        joined = _pair(codes, _indices(later), width)
        occurring = _distinct(joined, count * width)
        pairs.append(occurring)
        codes = _place(occurring, joined, count * width)
        count = len(occurring)
    return Entities(codes, count, dictionaries, tuple(pairs))


def codes_of(known: Entities, keys: Sequence[pa.Array]) -> Codes:
    """The number of the entity of each source row; -1 where a key is null or the spine does not ask for it."""
    codes = _spine_codes(keys[0], known.dictionaries[0])
    count = len(known.dictionaries[0])
    for key, dictionary, occurring in zip(keys[1:], known.dictionaries[1:], known.pairs, strict=True):
        joined = _pair(codes, _spine_codes(key, dictionary), len(dictionary))
        codes = _place(occurring, joined, count * len(dictionary))
        count = len(occurring)
    return codes


def _encoded(key: pa.Array) -> pa.DictionaryArray:
    return key if pa.types.is_dictionary(key.type) else key.dictionary_encode()


def _indices(encoded: pa.DictionaryArray) -> Codes:
    indices = encoded.indices
    codes: Codes = (indices.fill_null(-1) if indices.null_count else indices).to_numpy()
    return codes


def _spine_codes(key: pa.Array, dictionary: pa.Array) -> Codes:
    encoded = _encoded(key)
    there = pc.index_in(encoded.dictionary.cast(dictionary.type), value_set=dictionary).fill_null(-1).to_numpy()
    # a null key has the index -1, which picks the -1 appended here
    codes: Codes = np.append(there, -1).astype(np.int32)[_indices(encoded)]
    return codes


def _pair(codes: Codes, later: Codes, width: int) -> Ints:
    return np.where((codes < 0) | (later < 0), -1, np.multiply(codes, width, dtype=np.int64) + later)


def _distinct(numbers: Ints, size: int) -> Ints:
    """The sorted distinct numbers, all in [-1, size), without -1."""
    if size > _TABLE:
        found = np.unique(numbers)
        return found[found >= 0]
    seen = np.zeros(size + 1, np.bool_)
    seen[numbers] = True
    return np.flatnonzero(seen[:size])


def _place(known: Ints, numbers: Ints, size: int) -> Ints:
    """The index of each number in the sorted `known`, or -1."""
    if size <= _TABLE:
        table = np.full(size + 1, -1, np.int64)
        table[known] = np.arange(len(known))
        return table[numbers]
    if len(known) == 0:
        return np.full(len(numbers), -1, np.int64)
    place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.where(known[place] == numbers, place, -1)
