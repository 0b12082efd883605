"""Fingerprints depend on the id alone, not on what stands beside it, and differ where ids do."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fivefold.core.types import Type
from fivefold.realtime.streams.prints import LONGEST, Prints, among, joined, pack, prints_of, unpack


def pairs(prints: Prints) -> list[tuple[int, int]]:
    return list(zip(*prints.lists(), strict=True))


NAMES = ["", "\0", "\0\0", "a", "a\0", "\0a", "a\0\0\0", "ab", "abcd", "abcde", "abcd\0", "é", "e\u0301", "😀", "1", "01",
         "x" * LONGEST, "x" * (LONGEST - 1) + "y", "x" * (LONGEST + 1), "x" * LONGEST + "y", "x" * LONGEST + "\0",
         *(f"reading-{n:08d}" for n in range(2000)), *(f"r{n}" for n in range(2000))]


def test_ids_that_differ_have_other_fingerprints_and_equal_ones_the_same() -> None:
    found = pairs(prints_of(pa.array(NAMES), Type.STRING))
    assert len(set(found)) == len(NAMES)
    assert len({high for high, _ in found}) == len({low for _, low in found}) == len(NAMES)
    assert pairs(prints_of(pa.array(NAMES[::-1]), Type.STRING)) == found[::-1]


def test_an_id_has_one_fingerprint_whatever_stands_beside_it() -> None:
    found = pairs(prints_of(pa.array(NAMES), Type.STRING))
    chance = random.Random(1)
    for place in [*range(21), *chance.sample(range(len(NAMES)), 30)]:
        assert pairs(prints_of(pa.array([NAMES[place]]), Type.STRING)) == [found[place]]
        # a slice of a larger array, among ids of one length and of several
        assert pairs(prints_of(pa.array(["abc", NAMES[place], "abc"])[1:2], Type.STRING)) == [found[place]]
    start = NAMES.index("reading-00000000")
    assert pairs(prints_of(pa.array(NAMES)[start : start + 9], Type.STRING)) == found[start : start + 9]


def test_fingerprints_are_stored_so_they_stay_what_they_are() -> None:
    names = ["", "a", "reading-00000001", "x" * 200]
    assert [f"{high:016x}{low:016x}" for high, low in pairs(prints_of(pa.array(names), Type.STRING))] == KEPT
    assert pairs(prints_of(pa.array([7]), Type.INT64)) != pairs(prints_of(pa.array([8]), Type.INT64))


KEPT = [
    "e69c091c74db2829da0d734953d4cd8b",
    "7238ac5866c909bbb682915d210f755e",
    "367e68fb52fcb83b14968a1d4b1a1108",
    "408301323ec220aa9a1b94881d9e6750",
]


@pytest.mark.parametrize(("values", "kind"), [
    ([0, 1, -1, 2**63 - 1, -(2**63), 2**32, 2**32 - 1], Type.INT64), ([0.0, 1.0, -1.0, 5e-324, float("inf")], Type.FLOAT64),
    ([True, False], Type.BOOL), ([0, 1, 10**15], Type.TIMESTAMP),
])
def test_ids_that_are_no_texts(values: list[Any], kind: Type) -> None:
    array = pa.array(values, pa.timestamp("us") if kind is Type.TIMESTAMP else None)
    found = pairs(prints_of(array, kind))
    assert len(set(found)) == len(values)
    assert [pairs(prints_of(array[i : i + 1], kind))[0] for i in range(len(values))] == found


def test_of_no_ids_there_are_none() -> None:
    assert len(prints_of(pa.array([], pa.string()), Type.STRING)) == 0


def test_half_a_fingerprint_is_not_enough_to_be_found() -> None:
    held = joined([Prints(np.array([5, 3, 5], np.uint64), np.array([1, 2, 9], np.uint64)),
                   Prints(np.array([5, 2**64 - 1], np.uint64), np.array([4, 2**64 - 1], np.uint64))])
    held = unpack(pack(held))
    sought = Prints(np.array([5, 5, 5, 5, 3, 4, 2**64 - 1, 0], np.uint64), np.array([1, 9, 4, 2, 1, 1, 2**64 - 1, 0], np.uint64))
    assert among(sought, held).tolist() == [True, True, True, False, False, False, True, False]
