"""While the online store does not answer, an endpoint that declares what stands for its features answers, and says so."""

from __future__ import annotations

from typing import Any

import pytest

from fivefold.core.errors import FivefoldError, Unavailable
from fivefold.mlops import plan as plans
from fivefold.realtime.replay.recompute import replay
from fivefold.realtime.replay.skew import skew
from fivefold.workspace.predictions import find_prediction

DECLARED = 'ff.Endpoint("returned", returned, fallback={"last_amount": 7, "spending.sum_amount_30d": 50.0})'


class Gone:
    """A store that went away."""

    def __init__(self) -> None:
        self.asked = 0

    def get(self, pairs: object) -> list[bytes | None]:
        self.asked += 1
        raise Unavailable("the online store went away.")


@pytest.fixture
def declared(shop: Any) -> Any:
    shop.edit('ff.Endpoint("returned", returned)', DECLARED)
    shop.release()
    return shop


def test_declared_values_answer_and_are_flagged_until_the_store_is_back(declared: Any, row: dict[str, Any]) -> None:
    with declared.app() as asker:
        usual = asker.ask(row)[1]["rows"][0]
        live = asker.live["returned"]
        store, live._store = live._store, Gone()
        for _ in range(3):
            status, found = asker.ask(row)
            assert status == 200
        assert live._store.asked == 1  # it is not asked again in each request
        (answer,) = found["rows"]
        assert answer["warnings"] == ["the online store does not answer: declared values stand for what would be looked up"]
        shown = {n: (f["value"], f["status"]) for n, f in answer["features"].items()}
        assert shown == {
            "spending.count_30d": (None, "fallback"), "spending.sum_amount_30d": (50.0, "fallback"),
            "spending.last_amount": (7.0, "fallback"), "amount": (12.5, "present"), "ratio": (0.25, "present"),
            "capped": (None, "null")}
        loaded = live.served.loaded
        names = list(answer["features"])
        expected = loaded.predictor.predict(loaded.encoding.row([shown[n][0] for n in names])).tolist()
        assert [answer["prediction"]] == expected
        live._store = store
        live.using._looked_up.__self__._asked_again = 0.0
        again = asker.ask(row)[1]["rows"][0]
        assert (again["prediction"], again["features"]) == (usual["prediction"], usual["features"])
        assert "warnings" not in again
    with declared.open() as w:
        told = replay(w, find_prediction(w.state, answer["id"]))
        assert (told.equal, told.changed) == (True, [])
        report = skew(w)
    assert report.left_out == {"declared values stood for spending, since the online store did not answer": 3}
    assert (report.compared, report.differ) == (6, 0)


@pytest.mark.parametrize(("given", "error"), [
    ('{"last_amuont": 7}', "no looked-up feature for endpoint:returned"),
    ('{"amount": 7}', "no looked-up feature"),
    ('{"last_amount": "seven"}', "endpoint:returned: fallback={'spending.last_amount': 'seven'} is of another type (accepted: float64, or None)"),
    ("7", "fallback=7 is no mapping"),
])
def test_what_is_no_fallback_is_refused_by_the_plan(shop: Any, given: str, error: str) -> None:
    shop.edit('ff.Endpoint("returned", returned)', f'ff.Endpoint("returned", returned, fallback={given})')
    with pytest.raises(FivefoldError) as raised, shop.open() as w:
        plans.check(w)
    assert error in str(raised.value)
