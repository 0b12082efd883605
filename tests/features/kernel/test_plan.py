"""Plans that make no sense are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel.plan import Aggregate, Source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fn": "avrage"}, "no function 'avrage'"),
        ({"fn": "sum", "type": Type.STRING}, "sum of string column 'x'"),
        ({"fn": "max", "column": None}, "max needs a column"),
        ({"over": 0}, "over=0"),
        ({"over": 2**60}, "over=1152921504606846976"),
        ({"hop": 5}, "hop=5 without over="),
        ({"over": 5, "hop": 0}, "hop=0"),
        ({"ago": -1}, "ago=-1"),
        ({"q": 0.5}, "q=0.5"),
        ({"fn": "quantile"}, "q=None"),
        ({"fn": "quantile", "q": 1.5}, "q=1.5"),
        ({"fn": "quantile", "q": float("nan")}, "q=nan"),
        ({"k": 1}, "k=1"),
        ({"fn": "top"}, "k=None"),
        ({"fn": "top", "k": 0}, "k=0"),
        ({"fn": "top", "k": 101}, "k=101"),
        ({"fn": "mean"}, "scale=None"),
        ({"fn": "mean", "scale": 2000}, "scale=2000"),
        ({"fn": "mean", "scale": 3, "type": Type.INT64}, "only float64 columns have a scale"),
    ],
)
def test_a_wrong_aggregate_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Aggregate(**({"name": "f", "fn": "last", "column": "x", "type": Type.FLOAT64} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": ()}, "keys"),
        ({"keys": ("a", "b")}, "as many of each"),
        ({"aggregates": ()}, "no aggregates"),
        ({"delay": -1}, "delay=-1"),
    ],
)
def test_a_wrong_source_is_refused(changes: dict[str, Any], message: str) -> None:
    plan: dict[str, Any] = {
        "name": "v",
        "relation": "rows",
        "keys": ("k",),
        "spine_keys": ("k",),
        "time": "t",
        "aggregates": (Aggregate("f", "count", None, Type.INT64),),
    }
    with pytest.raises(Invalid, match=message):
        Source(**(plan | changes))


@pytest.mark.parametrize(
    ("fn", "of", "result"),
    [
        ("count", Type.STRING, Type.INT64),
        ("sum", Type.BOOL, Type.INT64),
        ("sum", Type.FLOAT64, Type.FLOAT64),
        ("mean", Type.INT64, Type.FLOAT64),
        ("last", Type.TIMESTAMP, Type.TIMESTAMP),
        ("max", Type.BOOL, Type.BOOL),
        ("top", Type.STRING, Type.STRING),
    ],
)
def test_the_type_of_a_feature_follows_from_its_function_and_column(fn: str, of: Type, result: Type) -> None:
    assert Aggregate("f", fn, "x", of, scale=0, k=1 if fn == "top" else None).result is result
