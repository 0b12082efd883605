"""From named columns to the matrix a model sees, and the same for one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.core.errors import Invalid
from fivefold.core.types import Type

_EXACT = 2**53


class Encoding(msgspec.Struct, frozen=True):
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
        """The `(n, features)` float64 matrix, row-major. Raises Invalid for an integer beyond 2**53."""
        out = np.empty((table.num_rows, len(self.names)))
        for i, (name, kind) in enumerate(zip(self.names, self.types, strict=True)):
            column = table[name]
            if kind is Type.STRING:
                found = pc.index_in(column.cast(pa.string()), value_set=pa.array(self.categories[name], pa.string()))
                column = pc.if_else(column.is_valid(), found, pa.scalar(None, pa.int32()))
            elif kind is Type.INT64 and table.num_rows and _beyond(column):
                raise _inexact(name, pc.max(pc.abs(column)).as_py())
            out[:, i] = column.cast(pa.float64()).to_numpy()
        return out

    def row(self, values: Sequence[object]) -> np.ndarray:
        """The `(1, features)` matrix of one row of Python values: the bits that `matrix` gives."""
        out = np.empty((1, len(self.names)))
        for i, (name, kind, value) in enumerate(zip(self.names, self.types, values, strict=True)):
            if value is None:
                out[0, i] = np.nan
            elif kind is Type.STRING:
                out[0, i] = self._places()[name].get(value, np.nan)  # type: ignore[call-overload]
            else:
                if kind is Type.INT64 and abs(value) > _EXACT:  # type: ignore[arg-type]
                    raise _inexact(name, value)
                out[0, i] = float(value)  # type: ignore[arg-type]
        return out

    def _places(self) -> dict[str, dict[str, float]]:
        found = _PLACES.get(id(self))
        if found is None or found[0] is not self:
            places = {n: {c: float(i) for i, c in enumerate(cs)} for n, cs in self.categories.items()}
            found = _PLACES[id(self)] = (self, places)
        return found[1]


_PLACES: dict[int, tuple[Encoding, dict[str, dict[str, float]]]] = {}


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


def _beyond(column: pa.ChunkedArray) -> bool:
    ends = pc.min_max(column).as_py()
    return any(abs(v) > _EXACT for v in ends.values() if v is not None)


def _inexact(name: str, value: object) -> Invalid:
    return Invalid(
        f"the feature {name!r} is {value}, beyond 2**53: a model would not see it exactly.",
        hint="Use it as a text, or derive a smaller number from it.",
    )
