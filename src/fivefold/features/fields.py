"""The fields of a request: every one of them is there, of its type, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.types import Type
from fivefold.core.values import LONGEST_SHOWN, shown, typed

__all__ = ["accepted", "shown"]


def accepted(row: object, fields: Mapping[str, Type]) -> dict[str, Any]:
    """A row's values by field, as features see them: whole numbers become floats where floats are, -0.0 becomes 0.0,
    times microseconds. Null is accepted for every field.

    Raises Invalid for a row that is no object, and for a field that is missing, unknown or of another type.
    """
    if not isinstance(row, dict):
        raise Invalid(f"a row is an object, not {shown(row)}.", hint=f"Send the fields {', '.join(fields)}.")
    out = {}
    for name, kind in fields.items():
        try:
            value = row[name]
        except KeyError:
            raise Invalid(f"the field {name!r} is missing.", hint=f"Send all of: {', '.join(fields)}.") from None
        out[name] = None if value is None else typed(name, value, kind)
    if len(row) > len(fields):
        unknown = next(n for n in row if n not in fields)
        near = did_you_mean(unknown, fields) if len(unknown) <= LONGEST_SHOWN else ""
        raise Invalid(f"there is no field {shown(unknown)} (accepted: {', '.join(fields)}).", hint=near)
    return out
