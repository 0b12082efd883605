"""Steps of an endpoint take what there is, of its type, from steps before them; everything else is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

import fivefold as ff
from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.noun import definition, noun_digest
from fivefold.core.revive import revive
from fivefold.core.steps import Member, wire
from fivefold.core.types import Type

ORDERS = ff.Table("orders", "orders.csv", time="at")


def model(name: str) -> ff.Model:
    return ff.Model(name, ff.Target(ORDERS, "back"), features=[], learner=ff.learner("logistic"), split=ff.RandomSplit(0.2))


A, B, KIND = model("a"), model("b"), model("kind")
TAKES = {
    "a": Member({"who": Type.STRING, "amount": Type.FLOAT64}, False),
    "b": Member({"who": Type.STRING, "a": Type.FLOAT64}, False),
    "kind": Member({"amount": Type.FLOAT64}, True, ["big", "small"]),
}


def wired(*steps: Any, **more: Member) -> Any:
    return wire("endpoint:e", steps, TAKES | more)


def test_fields_are_what_no_step_makes() -> None:
    found = wired(ff.Request("cents", int), ff.Derived("amount", "cents / 100.0"), A, B, KIND, ff.Derived("end", "a + b > kind.big"))
    assert found.fields == {"cents": Type.INT64, "who": Type.STRING}
    assert found.types == {"amount": Type.FLOAT64, "a": Type.FLOAT64, "b": Type.FLOAT64, "kind": Type.STRING, "end": Type.BOOL}


def test_what_a_model_takes_stands_before_it_or_in_the_request() -> None:
    assert wired(B).fields == {"who": Type.STRING, "a": Type.FLOAT64}
    assert wired(ff.Derived("big", "amount > 3"), A).fields == {"who": Type.STRING, "amount": Type.FLOAT64}


@pytest.mark.parametrize(("steps", "error", "said"), [
    ([B, A], Invalid, "model:b takes 'a', which is made by a step after it"),
    ([ff.Derived("x", "y + 1"), ff.Derived("y", "x + 1")], Invalid, "derived:x takes 'y', which is made by a step after it"),
    ([A, ff.Derived("x", "x + a")], Invalid, "derived:x takes 'x', which it makes itself: a cycle"),
    ([A, ff.Derived("x", "amont + a")], NotFound, "derived:x: 'amont'"),
    ([A, ff.Udf("u", len, ["aa"], float)], NotFound, "udf:u: 'aa'"),
    ([KIND, ff.Derived("x", "kind.bog > 0.5")], NotFound, "derived:x: 'bog'"),
    ([A, ff.Derived("x", "a.big > 0.5")], NotFound, "'a.big'"),
    ([ff.Derived("a", "amount"), KIND, ff.Derived("x", "a || 1")], Invalid, "derived:x"),
    ([ff.Request("amount", int), A], Invalid, "takes the field 'amount' as float64, and another step takes it as int64"),
    ([ff.Derived("amount", "'x'"), A], Invalid, "takes the field 'amount' as float64, and the step of that name makes string"),
    ([A, ff.Derived("x", "cast('2020-01-01' as timestamp)")], Invalid, "the answer, derived:x, is a timestamp"),
])
def test_wrong_wiring_names_the_step_and_the_field(steps: Any, error: type[FivefoldError], said: str) -> None:
    with pytest.raises(error) as caught:
        wired(*steps)
    assert "endpoint:e, steps" in caught.value.message
    assert said in caught.value.message, caught.value.message


@pytest.mark.parametrize(("steps", "said"), [
    ([A, A], "two of them are called 'a'"), ([B], "the model 'a' is none of them (models: b)"), ([A, 3], r"steps[1] is 3"),
    ([A, ff.Request("x", int)], "the last one, request:x, makes nothing"), ("a", "steps='a' is no list"),
])
def test_a_list_that_cannot_be_is_refused_where_it_is_written(steps: Any, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        ff.Endpoint("e", A, steps=steps)
    assert said in caught.value.message


def test_without_steps_a_declaration_is_what_it_was_and_with_them_it_comes_back() -> None:
    assert "steps" not in definition(ff.Endpoint("e", A))
    declared = ff.Endpoint("e", A, steps=[A, B, ff.Derived("x", "a + b")])
    nouns = [ORDERS, A, B, ff.Derived("x", "a + b"), declared]
    back = revive({n.ref: definition(n) for n in nouns}, {})["endpoint:e"]
    assert noun_digest(back) == noun_digest(declared)
    assert [s.name for s in back.steps] == ["a", "b", "x"]  # type: ignore[attr-defined]
