from __future__ import annotations

import numpy as np
import pytest

from fivefold.federated.contribution import Terms, sent_layout
from fivefold.federated.robust.checks import admit

LAYOUT, TERMS = sent_layout(update=2), Terms(total=10, reach=1.0, loss_cap=4.0)
GOOD = np.array([0.3, 0.4, 0.5, 0.7, 0.0])


def changed(at: int, value: float) -> np.ndarray:
    out = GOOD.copy()
    out[at] = value
    return out


@pytest.mark.parametrize(("given", "why"), [
    ([1, 2, 3, 4, 5], "a list is no array"), (GOOD.astype(np.float32), "an array of float32"), (GOOD.astype(object), "an array of object"),
    (GOOD[:4], "shape \\(4,\\)"), (GOOD[None], "shape \\(1, 5\\)"), (changed(0, np.nan), "1 numbers are infinite or none"),
    (changed(3, np.inf), "1 numbers"), (changed(2, 0.0), "the weight 0"), (changed(2, -1.0), "the weight -1"),
    (changed(2, 3.0), "at most 1"), (changed(4, 0.6), "a share clipped of 0.6"), (changed(4, -0.1), "a share clipped"),
    (changed(3, 9.0), "a loss of 9"), (changed(0, 5.0), "beyond 1")])
def test_what_is_not_as_it_should_be_is_refused_with_the_reason(given, why: str) -> None:  # type: ignore[no-untyped-def]
    import re

    found = admit([("a", GOOD), ("b", given)], LAYOUT, TERMS)
    assert list(found.kept) == ["a"]
    assert re.search(why, found.refused["b"])


def test_a_sender_who_comes_twice_is_left_out_unless_both_are_the_same() -> None:
    found = admit([("a", GOOD), ("b", GOOD), ("a", changed(0, 0.1)), ("b", GOOD.copy()), ("a", GOOD)], LAYOUT, TERMS)
    assert list(found.kept) == ["b"]
    assert found.refused == {"a": "two different contributions"}


def test_equal_weights_are_one() -> None:
    found = admit([("a", GOOD), ("b", changed(2, 1.0))], LAYOUT, Terms(equal=True))
    assert list(found.kept) == ["b"]
    assert "is not one" in found.refused["a"]
