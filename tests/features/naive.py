"""The oracle: the rules of docs/decisions/0002 and 0005, one row at a time, in plain Python with unbounded integers."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from typing import Any

from fivefold.features.asof import Aggregate, Source

Row = dict[str, Any]


def canonical(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value + 0.0
    return value


def order(value: Any) -> tuple[Any, ...]:
    """Null lowest, then numbers by size, false before true, texts by UTF-8 bytes."""
    if value is None:
        return (0,)
    return (1, value.encode()) if isinstance(value, str) else (1, value)


def rows_of(source: Source, rows: list[Row]) -> list[Row]:
    """The rows without duplicates and without null times or keys, values canonical."""
    ids: dict[Any, list[int]] = {}
    out = []
    for row in rows:
        at = row[source.time]
        if source.id is not None and row[source.id] is not None and (source.id_within is None or at is not None):
            # the stretches of time of the rows of this id that count; for ever is one stretch
            stretch = 0 if source.id_within is None else at // source.id_within
            if any(abs(stretch - other) <= 1 for other in ids.setdefault(row[source.id], [])):
                continue
            ids[row[source.id]].append(stretch)
        if row[source.time] is not None and all(row[k] is not None for k in source.keys):
            out.append({name: canonical(value) for name, value in row.items()})
    return out


def seen(source: Source, aggregate: Aggregate, rows: list[Row], key: tuple[Any, ...], at: int | None) -> list[Row]:
    if at is None or None in key:
        return []
    end = at - aggregate.ago
    lo = None if aggregate.over is None else end - aggregate.over
    if aggregate.hop is not None:
        assert lo is not None
        lo = lo // aggregate.hop * aggregate.hop  # Python floors towards minus infinity
    return [
        row
        for row in rows
        if tuple(row[k] for k in source.keys) == key
        and (lo is None or lo <= row[source.time])
        and row[source.time] < end
        and row[source.time] + source.delay < end
    ]


def value(source: Source, aggregate: Aggregate, window: list[Row]) -> Any:
    if aggregate.column is None:
        return len(window)
    if aggregate.fn in ("first", "last"):
        if not window:
            return None
        pick = min if aggregate.fn == "first" else max
        return pick(
            window,
            key=lambda r: (r[source.time], order(r[source.seq]) if source.seq else (), order(r[aggregate.column])),
        )[aggregate.column]
    values = [row[aggregate.column] for row in window if row[aggregate.column] is not None]
    return FUNCTIONS[aggregate.fn](values, aggregate)


def _fixed(values: list[Any], aggregate: Aggregate) -> tuple[list[int], float]:
    scale = aggregate.scale or 0
    return [round(math.ldexp(v, scale)) if isinstance(v, float) else int(v) for v in values], math.ldexp(1.0, -scale)


def _sum(values: list[Any], aggregate: Aggregate) -> Any:
    if not values:
        return None
    numbers, unit = _fixed(values, aggregate)
    return float(sum(numbers)) * unit if aggregate.type == "float64" else sum(numbers)


def _mean(values: list[Any], aggregate: Aggregate) -> Any:
    numbers, unit = _fixed(values, aggregate)
    return float(sum(numbers)) / float(len(numbers)) * unit if numbers else None


def _std(values: list[Any], aggregate: Aggregate) -> Any:
    numbers, unit = _fixed(values, aggregate)
    n = len(numbers)
    if n < 2:
        return None
    return math.sqrt(float(n * sum(i * i for i in numbers) - sum(numbers) ** 2) / float(n * (n - 1))) * unit


def middle(x: float) -> float:
    """The middle of the bucket of x: 64 buckets an octave, linear within it."""
    if abs(x) < 2.0**-1022:
        return 0.0
    if math.isinf(x):
        return x
    fraction, exponent = math.frexp(abs(x))  # fraction in [0.5, 1)
    sixty_fourth = math.floor((fraction * 2 - 1) * 64)
    return math.copysign(math.ldexp(1 + (sixty_fourth + 0.5) / 64, exponent - 1), x)


def _quantile(values: list[Any], aggregate: Aggregate) -> Any:
    ordered = sorted(float(v) for v in values)
    return middle(ordered[math.floor(aggregate.q * float(len(ordered) - 1))]) if ordered else None


def hashed(item: Any) -> int:
    if isinstance(item, str):
        word = int.from_bytes(hashlib.blake2b(item.encode(), digest_size=8).digest(), "little")
    else:
        packed = struct.pack("<d", item) if isinstance(item, float) else struct.pack("<q", int(item))
        word = int.from_bytes(packed, "little")
    word = (word + 0x9E3779B97F4A7C15) % 2**64
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def estimate(items: set[Any]) -> int:
    """HyperLogLog of a set, 4096 registers, by Ertl's algorithm 6."""
    registers = [0] * 4096
    for item in items:
        word = hashed(item)
        rank = 53 - (word % 2**52).bit_length()
        registers[word >> 52] = max(registers[word >> 52], rank)
    counts = [registers.count(rank) for rank in range(54)]
    x = 1 - counts[53] / 4096
    z = 0.0
    if x not in (0.0, 1.0):
        y, z, before = 1.0, 1 - x, None
        while z != before:
            x, y, before = math.sqrt(x), y / 2, z
            z -= (1 - x) * (1 - x) * y
        z /= 3
    z *= 4096
    for rank in range(52, 0, -1):
        z = (z + counts[rank]) / 2
    x, y, sigma, before = counts[0] / 4096, 1.0, counts[0] / 4096, None
    while sigma != before:
        x, before = x * x, sigma
        sigma += x * y
        y += y
    return round(0.7213475204444817 * 4096 * 4096 / (z + 4096 * sigma))


def _distinct(values: list[Any], aggregate: Aggregate) -> int:
    items = set(values)
    return len(items) if len(items) <= 4096 else max(4097, estimate(items))


def _top(values: list[Any], aggregate: Aggregate) -> Any:
    frequent = sorted(set(values), key=lambda v: (-values.count(v), order(v)))
    return frequent[aggregate.k - 1] if len(frequent) >= aggregate.k else None


FUNCTIONS: dict[str, Callable[[list[Any], Aggregate], Any]] = {
    "count": lambda values, _: len(values),
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "distinct": _distinct,
    "min": lambda values, _: min(values, key=order, default=None),
    "max": lambda values, _: max(values, key=order, default=None),
    "quantile": _quantile,
    "top": _top,
}


def as_of(spine: list[Row], time: str, sources: list[tuple[Source, list[Row]]]) -> dict[str, list[Any]]:
    """The columns of every aggregate and their `__time`, given the rows of each source."""
    out: dict[str, list[Any]] = {}
    for source, given in sources:
        rows = rows_of(source, given)
        for aggregate in source.aggregates:
            windows = [seen(source, aggregate, rows, tuple(q[k] for k in source.spine_keys), q[time]) for q in spine]
            out[aggregate.name] = [value(source, aggregate, w) for w in windows]
            out[f"{aggregate.name}__time"] = [max((r[source.time] for r in w), default=None) for w in windows]
    return out
