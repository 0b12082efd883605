from __future__ import annotations

import shutil
from typing import Any

import pytest


def test_a_prediction_is_what_the_loaded_model_says_of_the_features_shown(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        status, found = asker.ask(row)
        (answer,) = found["rows"]
        served = asker.live["returned"].served
        values = [f["value"] for f in answer["features"].values()]
        assert status == 200
        assert found["version"] == 1
        assert answer["prediction"] == served.loaded.predict_row(values)[0]
        known = [line.split(",") for line in (shop.root / "data" / "orders.csv").read_text().splitlines()]
        seen = [t for _, who, t, *_ in known if who == "c1" and "2026-01-26T06:13:20" <= t < "2026-02-25T06:13:20"]
        assert answer["as_of"] == "2026-02-25T06:13:20Z"
        assert answer["features"]["spending.count_30d"] == {
            "value": len(seen), "status": "present", "event_time": f"{max(seen)}Z"}
        assert answer["features"]["amount"] == {"value": 12.5, "status": "present", "event_time": None}
        assert "warnings" not in answer


def test_a_row_alone_has_the_bits_it_has_among_others(shop: Any) -> None:
    rows = [{"customer_id": f"c{i}", "amount": i * 1.7 if i % 7 else None} for i in range(60)]
    with shop.app() as asker:
        together = [a["prediction"] for a in asker.ask({"rows": rows})[1]["rows"]]
        backwards = [a["prediction"] for a in asker.ask({"rows": rows[::-1]})[1]["rows"]][::-1]
        alone = [asker.ask(r)[1]["rows"][0]["prediction"] for r in rows]
    assert together == alone == backwards
    assert len(set(together)) > 40


def test_a_bad_row_fails_alone_in_its_place(shop: Any, row: dict[str, Any]) -> None:
    bad: list[Any] = [7, {}, {**row, "amount": "x"}, {**row, "other": 1}, {**row, "amount": -1}, {**row, "amount": 13},
                      {**row, "amount": 5000}]
    with shop.app() as asker:
        status, found = asker.ask({"rows": [row, *bad, row]})
    assert status == 200
    errors = [a.get("error", {}).get("message") for a in found["rows"]]
    assert errors == [
        None, "a row is an object, not 7.", "the field 'customer_id' is missing.",
        "the field 'amount' is 'x', which is not float64.", "there is no field 'other' (accepted: customer_id, amount).",
        "the row breaks the check 'amount >= 0': amount = -1.0.", "udf:capped failed: ValueError: thirteen.",
        "the row breaks the check 'amount < 1000': amount = 5000.0.", None]
    assert found["rows"][0]["prediction"] == found["rows"][-1]["prediction"]
    assert [bool(a.get("id")) for a in found["rows"]] == [True, *[False] * 7, True]


def test_a_check_that_warns_lets_the_row_pass_and_says_so(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        status, found = asker.ask({**row, "amount": 700})
    assert status == 200
    assert found["rows"][0]["warnings"] == ["the check 'large' does not hold"]


@pytest.mark.parametrize("amount", [None, 0, 1e308, -0.0])
def test_a_check_passes_on_null_as_in_sql(shop: Any, row: dict[str, Any], amount: float | None) -> None:
    with shop.app() as asker:
        status, found = asker.ask({**row, "amount": amount})
    assert status == (400 if amount == 1e308 else 200), found


def test_an_entity_that_was_never_seen_has_counts_of_zero_and_no_values(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        for name in ("nobody", "", "x" * 5000, None):
            status, found = asker.ask({**row, "customer_id": name})
            features = found["rows"][0]["features"]
            assert status == 200
            assert features["spending.count_30d"] == {"value": 0, "status": "absent", "event_time": None}
            assert features["spending.last_amount"]["value"] is None


def test_without_materialised_features_it_answers_and_warns(shop: Any, row: dict[str, Any]) -> None:
    shutil.rmtree(shop.root / ".fivefold" / "online")
    with shop.app() as asker:
        status, found = asker.ask(row)
        _, about, _ = asker.send(path="/", method="GET")
    assert status == 200
    assert found["rows"][0]["warnings"] == ["no values of the feature view 'spending' have been materialised"]
    assert found["rows"][0]["features"]["spending.last_amount"]["status"] == "absent"
    assert about["endpoints"]["returned"]["materialized"] == {"spending": None}


def test_a_row_that_the_model_cannot_take_fails_alone(shop: Any, row: dict[str, Any]) -> None:
    shop.edit('ff.Request("amount", float)', 'ff.Request("amount", float), ff.Request("order_id", int)')
    shop.release()
    with shop.app() as asker:
        status, found = asker.ask({"rows": [{**row, "order_id": n} for n in (1, 2**53 + 1, 2**53, None)]})
    assert status == 200
    assert [("prediction" in a, a.get("error", {}).get("message", "")[:42]) for a in found["rows"]] == [
        (True, ""), (False, "the feature 'order_id' is 9007199254740993"), (True, ""), (True, "")]
