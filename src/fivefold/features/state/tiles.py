"""The mergeable states behind a view's features: a commutative monoid a slot, exact in every order of merging.

A slot is a kind of state of a column. A summary has one state a slot; None is the state of nothing, which merges with
anything. Values of columns are kept as what compares and hashes alike everywhere: integers, doubles, UTF-8 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import sketch
from fivefold.features.kernel.columns import Column
from fivefold.features.kernel.finish import EXACT_DISTINCT
from fivefold.features.kernel.fixed import LIMIT
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.state.layout import TIME, Layout, Rows

State = Any
Summary = list[State]


class Slot(NamedTuple):
    """A kind of state of a column (-1: of the rows themselves) at a fixed-point scale, where that matters."""

    kind: str
    column: int
    scale: int = 0


SLOTS_OF: dict[str, tuple[str, ...]] = {
    "count": ("n",),
    "sum": ("n", "sum"),
    "mean": ("n", "sum"),
    "std": ("n", "sum", "squares"),
    "min": ("min",),
    "max": ("max",),
    "first": ("first",),
    "last": ("last",),
    "distinct": ("set",),
    "quantile": ("buckets",),
    "top": ("counts",),
}


def slots_of(aggregate: Aggregate, layout: Layout) -> list[Slot]:
    """The states that an aggregate is made of."""
    if aggregate.column is None:
        return [Slot("rows", -1)]
    column = layout.place(aggregate.column, aggregate.type)
    return [
        Slot(kind, column, (aggregate.scale or 0) if kind in ("sum", "squares") else 0)
        for kind in SLOTS_OF[aggregate.fn]
    ]


class Algebra:
    """The states of one view: lifted from rows, merged, written down and read."""

    def __init__(self, layout: Layout, aggregates: Sequence[Aggregate]) -> None:
        self.layout = layout
        self.slots = list(dict.fromkeys(slot for a in aggregates for slot in slots_of(a, layout)))
        self.newest = len(self.slots)
        """Where the time of the newest row stands in a summary."""
        self.slots.append(Slot("newest", -1))
        self._merge = [_Sets(layout.columns[s.column][1]) if s.kind == "set" else _MERGE[s.kind] for s in self.slots]

    def places(self, aggregate: Aggregate) -> list[int]:
        """Where the states of an aggregate stand in a summary."""
        return [self.slots.index(slot) for slot in slots_of(aggregate, self.layout)]

    def lift(self, rows: Rows, wanted: Sequence[int] | None = None) -> Summary:
        """The states of some rows of one entity, in order of time; only the `wanted` ones."""
        if not len(rows):
            return [None] * len(self.slots)
        chosen = range(len(self.slots)) if wanted is None else wanted
        return [_LIFT[slot.kind](self.layout, rows, slot) if i in chosen else None for i, slot in enumerate(self.slots)]

    def merge(self, a: Summary, b: Summary) -> Summary:
        """The states of the rows of both."""
        return [
            x if y is None else y if x is None else merge(x, y) for merge, x, y in zip(self._merge, a, b, strict=True)
        ]

    def merge_one(self, place: int, a: State, b: State) -> State:
        """The same of one slot."""
        return a if b is None else b if a is None else self._merge[place](a, b)


def dump(summary: Summary) -> list[Any]:
    """A summary as MessagePack can hold it, equal for equal states."""
    return [_dump(state) for state in summary]


def load(given: Sequence[Any], slots: Sequence[Slot]) -> Summary:
    """The summary that was dumped."""
    return [_load(state, slot.kind) for state, slot in zip(given, slots, strict=True)]


def _dump(state: State) -> Any:
    if isinstance(state, set):
        return sorted(state)
    if isinstance(state, dict):
        return sorted(state.items())
    if isinstance(state, int) and not -(2**63) <= state < 2**63:
        return state.to_bytes(16, "little", signed=True)
    return state


def _load(state: Any, kind: str) -> State:
    if kind == "set" and isinstance(state, list):
        return set(state)
    if kind in ("buckets", "counts") and state is not None:
        return dict(state)
    if kind in ("sum", "squares") and isinstance(state, bytes):
        return int.from_bytes(state, "little", signed=True)
    return state


def _rows(layout: Layout, rows: Rows, slot: Slot) -> int:
    return len(rows)


def _newest(layout: Layout, rows: Rows, slot: Slot) -> int:
    return int(rows.words[-1, TIME])


def _n(layout: Layout, rows: Rows, slot: Slot) -> int:
    return int(np.count_nonzero(layout.valid(rows, slot.column)))


def _present(layout: Layout, rows: Rows, column: int) -> Any:
    valid = layout.valid(rows, column)
    values = layout.values(rows, column)
    return values if valid.all() else values[valid]


def _fixed(layout: Layout, rows: Rows, slot: Slot) -> Any:
    values = _present(layout, rows, slot.column)
    name, kind = layout.columns[slot.column]
    if kind is Type.FLOAT64:
        with np.errstate(over="ignore"):
            scaled = np.rint(values * math.ldexp(1.0, slot.scale))
        beyond = ~(np.abs(scaled) < LIMIT)
    else:
        scaled = values
        beyond = (values >= LIMIT) | (values <= -LIMIT)
    if beyond.any():
        raise Invalid(
            f"column {name!r}: value {values[int(np.argmax(beyond))].item()!r} at scale {slot.scale} is out of range "
            "(accepted: |rint(x·2^s)| < 2^40)."
        )
    return scaled.astype(np.int64)


def _sum(layout: Layout, rows: Rows, slot: Slot) -> int:
    # below 2**40 in size, so eight million rows fit; a summary is made of far fewer at once
    return int(_fixed(layout, rows, slot).sum())


def _squares(layout: Layout, rows: Rows, slot: Slot) -> int:
    numbers = _fixed(layout, rows, slot)
    high, low = numbers >> 20, numbers & 0xFFFFF
    crossed = int((high * low).sum())
    return (int((high * high).sum()) << 40) + (crossed << 21) + int((low * low).sum())


def _least(layout: Layout, rows: Rows, slot: Slot) -> State:
    values = _present(layout, rows, slot.column)
    return plain(values.min()) if len(values) else None


def _greatest(layout: Layout, rows: Rows, slot: Slot) -> State:
    values = _present(layout, rows, slot.column)
    return plain(values.max()) if len(values) else None


def _placed(layout: Layout, rows: Rows, slot: Slot, at: int) -> list[State]:
    """[time, seq (None lowest), value (None lowest)] of one row, which compares as decision 0005 orders rows."""
    words = rows.words[at]
    one = layout.part(rows, at, at + 1)
    seq = None
    if layout.seq is not None and words[1] >> 62 & 1:
        seq = plain(layout.seqs(one)[0])
    value = plain(layout.values(one, slot.column)[0]) if words[1] >> slot.column & 1 else None
    return [int(words[TIME]), seq, value]


def place_order(placed: list[State]) -> tuple[Any, ...]:
    """What `first` and `last` compare by."""
    time, seq, value = placed
    return (time, *((False,) if seq is None else (True, seq)), *((False,) if value is None else (True, value)))


def _last(layout: Layout, rows: Rows, slot: Slot) -> list[State]:
    time = rows.words[:, TIME]
    start = int(np.searchsorted(time, time[-1]))
    return max((_placed(layout, rows, slot, i) for i in range(start, len(rows))), key=place_order)


def _first(layout: Layout, rows: Rows, slot: Slot) -> list[State]:
    time = rows.words[:, TIME]
    stop = int(np.searchsorted(time, time[0], "right"))
    return min((_placed(layout, rows, slot, i) for i in range(stop)), key=place_order)


def _set(layout: Layout, rows: Rows, slot: Slot) -> State:
    values = _present(layout, rows, slot.column)
    return _bounded(set(values.tolist()), layout.columns[slot.column][1])


def _bounded(values: set[Any], kind: Type) -> State:
    """The set itself, or, above the bound, the registers of its HyperLogLog."""
    if len(values) <= EXACT_DISTINCT:
        return values
    return _registers(values, kind)


def _registers(values: set[Any], kind: Type) -> bytes:
    items = list(values)
    if kind is Type.STRING:
        texts = pa.array(items, pa.binary()).cast(pa.string())
        column = Column(kind, np.arange(len(items)), None, texts)
    else:
        column = Column(kind, np.array(items, np.float64 if kind is Type.FLOAT64 else np.int64), None)
    register, rank = sketch.register_and_rank(sketch.hashes(column))
    out = np.zeros(sketch.REGISTERS, np.uint8)
    np.maximum.at(out, register, rank.astype(np.uint8))
    return out.tobytes()


class _Sets:
    """Merging of sets, which needs to know how a column's values are hashed."""

    def __init__(self, kind: Type) -> None:
        self._kind = kind

    def __call__(self, a: State, b: State) -> State:
        if isinstance(a, set) and isinstance(b, set):
            return _bounded(a | b, self._kind)
        pair = [np.frombuffer(_registers(s, self._kind) if isinstance(s, set) else s, np.uint8) for s in (a, b)]
        return np.maximum(*pair).tobytes()


def _buckets(layout: Layout, rows: Rows, slot: Slot) -> dict[int, int]:
    values = _present(layout, rows, slot.column)
    found, counts = np.unique(sketch.bucket(values.astype(np.float64)), return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _counts(layout: Layout, rows: Rows, slot: Slot) -> dict[Any, int]:
    out: dict[Any, int] = {}
    for value in _present(layout, rows, slot.column).tolist():
        out[value] = out.get(value, 0) + 1
    return out


def _added(a: dict[Any, int], b: dict[Any, int]) -> dict[Any, int]:
    if len(a) < len(b):
        a, b = b, a
    out = dict(a)
    for value, count in b.items():
        out[value] = out.get(value, 0) + count
    return out


def plain(value: Any) -> Any:
    """A number of numpy as Python's own; texts stay bytes."""
    return value.item() if isinstance(value, np.generic) else value


_LIFT: dict[str, Callable[[Layout, Rows, Slot], State]] = {
    "rows": _rows,
    "newest": _newest,
    "n": _n,
    "sum": _sum,
    "squares": _squares,
    "min": _least,
    "max": _greatest,
    "first": _first,
    "last": _last,
    "set": _set,
    "buckets": _buckets,
    "counts": _counts,
}
_MERGE: dict[str, Callable[[State, State], State]] = {
    "rows": lambda a, b: a + b,
    "newest": max,
    "n": lambda a, b: a + b,
    "sum": lambda a, b: a + b,
    "squares": lambda a, b: a + b,
    "min": min,
    "max": max,
    "first": lambda a, b: min(a, b, key=place_order),
    "last": lambda a, b: max(a, b, key=place_order),
    "buckets": _added,
    "counts": _added,
}
