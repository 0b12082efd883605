from __future__ import annotations

from typing import Any

import pytest

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.core.values import LONGEST_SHOWN, shown, typed


@pytest.mark.parametrize(("kind", "value", "held"), [
    (Type.INT64, -(2**63), -(2**63)), (Type.FLOAT64, 3, 3.0), (Type.FLOAT64, -0.0, 0.0), (Type.BOOL, False, False),
    (Type.STRING, "", ""), (Type.TIMESTAMP, "1970-01-01T00:00:01Z", 1_000_000), (Type.TIMESTAMP, 7, 7),
])
def test_a_value_becomes_what_the_platform_holds(kind: Type, value: Any, held: Any) -> None:
    found = typed("x", value, kind)
    assert (type(found), repr(found)) == (type(held), repr(held))


@pytest.mark.parametrize(("kind", "value"), [
    (Type.INT64, True), (Type.INT64, 2**63), (Type.FLOAT64, "1"), (Type.FLOAT64, 10**400), (Type.BOOL, 0),
    (Type.STRING, b"x"), (Type.TIMESTAMP, "soon"), (Type.TIMESTAMP, 1.0),
])
def test_a_value_of_another_type_is_named(kind: Type, value: Any) -> None:
    with pytest.raises(Invalid, match=f"the field 'x' is .*, which is not {kind}"):
        typed("x", value, kind)


def test_what_is_shown_is_short() -> None:
    assert shown("x" * 1000) == "'" + "x" * (LONGEST_SHOWN - 2) + "…"
    assert shown([1]) == "[1]"
    # Python refuses to write this one
    assert shown([10**5000]) == "list with a number too long to write"
