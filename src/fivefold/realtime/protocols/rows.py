"""Batches of rows, or of columns, of JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid, did_you_mean
from fivefold.core.types import Schema
from fivefold.core.values import typed
from fivefold.features.fields import accepted, shown
from fivefold.realtime.protocols.batch import Batch
from fivefold.realtime.protocols.bounds import MOST_TENSORS, require_rows


def batch_of(rows: Sequence[object], fields: Schema, **more: Any) -> Batch:
    """A batch of row objects; a row that is wrong is refused alone. `more` are other members of the batch."""
    if len(rows) == 1:
        try:
            only = accepted(rows[0], fields)
        except FivefoldError as e:
            return Batch(fields, dict.fromkeys(fields, (None,)), 1, {0: e}, **more)
        return Batch(fields, {n: (v,) for n, v in only.items()}, 1, **more)
    refused: dict[int, FivefoldError] = {}
    columns: dict[str, list[Any]] = {n: [] for n in fields}
    nothing = dict.fromkeys(fields)
    for i, row in enumerate(rows):
        try:
            taken = accepted(row, fields)
        except FivefoldError as e:
            refused[i], taken = e, nothing
        for name, cells in columns.items():
            cells.append(taken[name])
    return Batch(fields, columns, len(rows), refused, **more)


def batch_of_whole(rows: Sequence[object], fields: Schema, **more: Any) -> Batch:
    """A batch of row objects that are all right. Raises Invalid for the first that is not, with its number."""
    made = batch_of(rows, fields, **more)
    if made.refused:
        i = min(made.refused)
        raise Invalid(f"row {i}: {made.refused[i].message}", hint=made.refused[i].hint)
    return made


def batch_of_columns(columns: Mapping[str, Sequence[Any]], fields: Schema, **more: Any) -> Batch:
    """A batch of columns. Raises Invalid for one that is missing, unknown, of another length or of another type."""
    require_fields(columns, fields, "column")
    lengths = {n: len(c) for n, c in columns.items()}
    first = next(iter(fields))
    for name, length in lengths.items():
        if length != lengths[first]:
            raise Invalid(f"the column {name!r} has {length} values, and {first!r} has {lengths[first]}.")
    require_rows(lengths[first])
    made = {}
    for name, kind in fields.items():
        cells: list[Any] = []
        for i, value in enumerate(columns[name]):
            try:
                cells.append(None if value is None else typed(name, value, kind))
            except Invalid as e:
                raise Invalid(f"row {i}: {e.message}", hint=e.hint) from None
        made[name] = cells
    return Batch(fields, made, lengths[first], **more)


def require_fields(given: Mapping[str, object], fields: Schema, what: str) -> None:
    """Raise Invalid unless exactly the fields are given."""
    if len(given) > MOST_TENSORS:
        raise Invalid(f"there are {len(given)} {what}s (accepted: {MOST_TENSORS} at most).")
    if not fields:
        raise Invalid("this endpoint takes no fields, so that columns have no rows.", hint="Send rows: {}.")
    for name in fields:
        if name not in given:
            raise Invalid(f"the {what} {name!r} is missing.", hint=f"Send all of: {', '.join(fields)}.")
    for name in given:
        if name not in fields:
            near = did_you_mean(name, fields) if len(name) <= 80 else ""
            raise Invalid(f"there is no {what} {shown(name)} (accepted: {', '.join(fields)}).", hint=near)
