"""What an as-of join is asked: aggregates over sources, checked when they are made."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.features import MOST_TOP
from fivefold.core.types import Type

LONGEST = 2**60  # µs; keeps every sum of a time and durations inside int64
LARGEST_SCALE = 960  # 2.0**±960 and its products with 2**40 are normal doubles

_ADDABLE = frozenset({Type.INT64, Type.FLOAT64, Type.BOOL})
_ANY = frozenset(Type)
ACCEPTS: dict[str, frozenset[Type]] = {
    "count": _ANY,
    "sum": _ADDABLE,
    "mean": _ADDABLE,
    "std": _ADDABLE,
    "min": _ANY,
    "max": _ANY,
    "first": _ANY,
    "last": _ANY,
    "distinct": _ANY,
    "quantile": _ADDABLE,
    "top": _ANY,
}
FIXED_POINT = frozenset({"sum", "mean", "std"})


class Aggregate(msgspec.Struct, frozen=True):
    """One feature: `fn` of a column over a window of the rows of an entity.

    `column` is a column of the source relation (None only for `count`, which then counts rows) and `type` its type.
    `over` (µs) is the window's length, None for all history; `hop` (µs) rounds its left edge down; `ago` (µs) moves the
    whole window into the past; `q` in [0, 1] is for `quantile`, `k` from 1 for `top`; `scale` s makes the fixed-point
    integer rint(x·2^s) of a float column and is required there for `sum`, `mean` and `std`. Raises Invalid for anything
    else.
    """

    name: str
    fn: str
    column: str | None
    type: Type
    over: int | None = None
    hop: int | None = None
    ago: int = 0
    q: float | None = None
    scale: int | None = None
    k: int | None = None

    def __post_init__(self) -> None:
        if self.fn not in ACCEPTS:
            raise Invalid(
                f"feature {self.name!r}: no function {self.fn!r} (have: {', '.join(sorted(ACCEPTS))}).",
                hint=did_you_mean(self.fn, ACCEPTS),
            )
        if self.column is None and self.fn != "count":
            raise Invalid(f"feature {self.name!r}: {self.fn} needs a column.")
        if self.column is not None and self.type not in ACCEPTS[self.fn]:
            accepted = ", ".join(sorted(ACCEPTS[self.fn]))
            raise Invalid(
                f"feature {self.name!r}: {self.fn} of {self.type} column {self.column!r} (accepted: {accepted})."
            )
        _check_duration(self.name, "over", self.over, 1)
        _check_duration(self.name, "hop", self.hop, 1)
        _check_duration(self.name, "ago", self.ago, 0)
        if self.hop is not None and self.over is None:
            raise Invalid(f"feature {self.name!r}: hop={self.hop} without over=.", hint="All history has no left edge.")
        if (self.q is not None) != (self.fn == "quantile") or not 0 <= (self.q or 0.0) <= 1:
            raise Invalid(f"feature {self.name!r}: q={self.q} (quantile needs q in [0, 1], nothing else has one).")
        if (self.k is not None) != (self.fn == "top") or not 1 <= (1 if self.k is None else self.k) <= MOST_TOP:
            raise Invalid(f"feature {self.name!r}: k={self.k} (top needs k in [1, {MOST_TOP}], nothing else has one).")
        if self.fn in FIXED_POINT:
            self._check_scale()

    def _check_scale(self) -> None:
        where = f"feature {self.name!r}: {self.fn} of {self.type} column {self.column!r} with scale={self.scale}"
        if self.type is not Type.FLOAT64 and self.scale not in (None, 0):
            raise Invalid(f"{where}: only float64 columns have a scale other than 0.")
        if self.type is Type.FLOAT64 and (self.scale is None or abs(self.scale) > LARGEST_SCALE):
            raise Invalid(
                f"{where} (accepted: -{LARGEST_SCALE} to {LARGEST_SCALE}).",
                hint="Choose s so that a thousand times the largest |x|·2^s stays below 2^40.",
            )

    @property
    def result(self) -> Type:
        """The type of the feature's values."""
        match self.fn:
            case "count" | "distinct":
                return Type.INT64
            case "mean" | "std" | "quantile":
                return Type.FLOAT64
            case "sum":
                return Type.FLOAT64 if self.type is Type.FLOAT64 else Type.INT64
        return self.type


class Source(msgspec.Struct, frozen=True):
    """A view's rows: where they are read, how they meet the spine, and the features made of them.

    `relation` is DuckDB SQL that can stand after FROM, or a whole SELECT. `keys` are its key columns and `spine_keys`
    the spine's, in the same order. `time` is a timestamp, date or int64 (µs since 1970 UTC) column. `seq` orders rows
    of equal time; `id` marks duplicates (the first in source order stays), with `id_within` (µs) only among rows whose
    stretches of time (`time // id_within`) are equal or next to each other: see `duplicates`. A row counts from
    `time + delay` (µs) on. Raises Invalid when the parts do not fit together.
    """

    name: str
    relation: str
    keys: Sequence[str]
    spine_keys: Sequence[str]
    time: str
    seq: str | None = None
    id: str | None = None
    id_within: int | None = None
    delay: int = 0
    aggregates: tuple[Aggregate, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys or len(self.keys) != len(self.spine_keys):
            raise Invalid(
                f"source {self.name!r}: keys {list(self.keys)} against spine keys {list(self.spine_keys)}: "
                "as many of each, at least one, are needed."
            )
        if not self.aggregates:
            raise Invalid(f"source {self.name!r} has no aggregates.", hint="Leave it out.")
        _check_duration(self.name, "delay", self.delay, 0)
        _check_duration(self.name, "id_within", self.id_within, 1)

    @property
    def columns(self) -> list[tuple[str, Type]]:
        """The distinct columns the aggregates use, and the types they are read as; the n-th is read as `c<n>`."""
        return list(dict.fromkeys((a.column, a.type) for a in self.aggregates if a.column is not None))


def _check_duration(name: str, what: str, micros: int | None, least: int) -> None:
    if micros is not None and not least <= micros < LONGEST:
        raise Invalid(f"{name!r}: {what}={micros} µs (accepted: {least} to {LONGEST - 1}).")
