"""From named columns to the matrix a model sees, and the same for one row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.types import Type

_EXACT = 2**53
_NAN = float("nan")


class Encoding(msgspec.Struct, frozen=True, dict=True):
    """How each feature becomes a float64 column; a text becomes the position of its category among `categories`.

    Null, and a text that no training row had, become NaN.
    """

    names: tuple[str, ...]
    types: tuple[Type, ...]
    categories: Mapping[str, tuple[str, ...]]

    @property
    def categorical(self) -> list[int]:
        """Positions of the columns that hold categories."""
        return [i for i, kind in enumerate(self.types) if kind is Type.STRING]

    def matrix(self, table: pa.Table) -> np.ndarray:
        """The `(n, features)` float64 matrix, row-major.

        Raises NotFound for a missing column, Invalid for values that do not fit and for an integer beyond 2**53.
        """
        out = np.empty((table.num_rows, len(self.names)))
        for i, name in enumerate(self.names):
            if name not in table.column_names:
                raise NotFound.named("feature", name, table.column_names)
            out[:, i] = self._column(name, self.types[i], table[name])
        return out

    def row(self, values: Sequence[object]) -> np.ndarray:
        """The `(1, features)` matrix of one row of Python values: the bits that `matrix` gives, the same errors."""
        try:
            found = [
                _NAN if value is None else convert(value)
                for convert, value in zip(self._converters, values, strict=True)
            ]
        except (TypeError, ValueError):
            raise self._unfit(values) from None
        return np.array(found, dtype=np.float64).reshape(1, -1)

    def _column(self, name: str, kind: Type, column: pa.ChunkedArray) -> np.ndarray:
        held = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        text = pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held)
        number = pa.types.is_integer(held) or pa.types.is_floating(held) or pa.types.is_boolean(held)
        if not pa.types.is_null(held) and not (text if kind is Type.STRING else number):
            raise _wrong(name, kind, f"a column of {column.type}")
        if kind is Type.STRING:
            found = pc.index_in(column.cast(pa.string()), value_set=pa.array(self.categories[name], pa.string()))
            column = pc.if_else(column.is_valid(), found, pa.scalar(None, pa.int32()))
        elif pa.types.is_integer(held):
            ends = [v for v in pc.min_max(column).as_py().values() if v is not None]
            for value in ends:
                if abs(value) > _EXACT:
                    raise _inexact(name, value)
        return np.asarray(column.cast(pa.float64()).to_numpy())

    @cached_property
    def _converters(self) -> tuple[Callable[[object], float], ...]:
        """What turns a value of each column into its number; kept, because `row` is the hot path of serving."""
        return tuple(
            _placing(self.categories[name]) if kind is Type.STRING else _number
            for name, kind in zip(self.names, self.types, strict=True)
        )

    def _unfit(self, values: Sequence[object]) -> Invalid:
        """Why a row could not be converted: found again value by value, so that the usual row does not pay for it."""
        if len(values) != len(self.names):
            return Invalid(f"the row has {len(values)} values, the model {len(self.names)} features.")
        for name, kind, convert, value in zip(self.names, self.types, self._converters, values, strict=True):
            try:
                if value is not None:
                    convert(value)
            except _Inexact:
                return _inexact(name, value)
            except (TypeError, ValueError):
                return _wrong(name, kind, repr(value))
        return Invalid("the row changed while it was read.")


class _Inexact(ValueError):
    """An integer that a float64 does not hold."""


def _number(value: object) -> float:
    if value.__class__ is float:
        return value
    if isinstance(value, int):
        if -_EXACT <= value <= _EXACT:
            return float(value)
        raise _Inexact
    if isinstance(value, float):
        return float(value)
    if isinstance(value, np.number | np.bool_):
        return _number(value.item())
    raise TypeError


def _placing(categories: Sequence[str]) -> Callable[[object], float]:
    places: dict[object, float] = {category: float(i) for i, category in enumerate(categories)}
    find = places.get

    def place(value: object) -> float:
        found = find(value)
        if found is not None:
            return found
        if isinstance(value, str):
            return _NAN
        raise TypeError

    return place


def fit_encoding(table: pa.Table, names: Sequence[str], types: Mapping[str, Type]) -> Encoding:
    """The encoding of training rows: the categories of texts, sorted. Raises Invalid for a timestamp feature."""
    categories: dict[str, tuple[str, ...]] = {}
    for name in names:
        if types[name] is Type.TIMESTAMP:
            raise Invalid(
                f"the feature {name!r} is a timestamp, which no learner takes.",
                hint="Derive a number from it, for instance hour(x) or epoch(x).",
            )
        if types[name] is Type.STRING:
            found = pc.unique(table[name].cast(pa.string())).to_pylist()
            categories[name] = tuple(sorted(v for v in found if v is not None))
    return Encoding(tuple(names), tuple(types[n] for n in names), categories)


def _wrong(name: str, kind: Type, seen: str) -> Invalid:
    return Invalid(f"the feature {name!r} is {seen:.100}, but the model takes a {kind.value}.")


def _inexact(name: str, value: object) -> Invalid:
    return Invalid(
        f"the feature {name!r} is {value}, beyond 2**53: a model would not see it exactly.",
        hint="Use it as a text, or derive a smaller number from it.",
    )
