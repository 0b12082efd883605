"""Which rows are learned from, and which are the test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.learning import GroupSplit, RandomSplit, TimeSplit
from fivefold.core.time import instant


class Split(msgspec.Struct, frozen=True):
    """Masks `(rows,)` of bool; `purged` counts rows in neither: their label was not known yet when the
    test began, or they come after its end.
    """

    train: np.ndarray
    test: np.ndarray
    purged: int


def split(
    how: TimeSplit | GroupSplit | RandomSplit,
    *,
    rows: int,
    time: np.ndarray,
    known: np.ndarray | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
) -> Split:
    """Split rows; `time` and `known` are int64 microseconds `(rows,)`.

    A time split learns only from rows whose label was known before the test begins, as would have been so on that day.
    Raises Invalid when either side is empty.
    """
    if isinstance(how, TimeSplit):
        start = instant(how.test)
        test = time >= start
        if how.until is not None:
            test &= time < instant(how.until)
        train = (time < start) & ((time if known is None else known) < start)
    elif isinstance(how, GroupSplit):
        assert groups is not None
        test = _hashed_groups(groups, how.seed) < how.test
        train = ~test
    else:
        test = _uniform(np.arange(rows, dtype=np.uint64), how.seed) < how.test
        train = ~test
    for side, mask in (("train", train), ("test", test)):
        if not mask.any():
            raise Invalid(
                f"the split {how} leaves no row to {side} on, of {rows}.",
                hint="Look at the split and at the times of the rows.",
            )
    return Split(train, test, int(rows - train.sum() - test.sum()))


def _hashed_groups(groups: Sequence[object] | np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each row, the same for all rows of a group wherever they stand."""
    place: dict[object, float] = {}
    out = np.empty(len(groups))
    for i, group in enumerate(groups.tolist() if isinstance(groups, np.ndarray) else groups):
        if group not in place:
            if isinstance(group, float) and group.is_integer():
                group = int(group)  # a column of integers becomes floats when a null joins it
            text = f"{seed}:{type(group).__name__}:{group}".encode()
            place[group] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64
        out[i] = place[group]
    return out


def _uniform(position: np.ndarray, seed: int) -> np.ndarray:
    """SplitMix64 (Steele, Lea, Flood 2014) of each position, as a number in [0, 1)."""
    with np.errstate(over="ignore"):
        z = (
            position
            + np.uint64(seed % 2**64) * np.uint64(0xD1B54A32D192ED03)
            + np.uint64(0x9E3779B97F4A7C15) * (position + np.uint64(1))
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / 2**53)
