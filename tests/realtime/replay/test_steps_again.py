"""`why`, its replay and skew of answers that several steps made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fivefold.core.errors import NotFound, Unsupported
from fivefold.realtime.prediction_log.files import LogFiles
from fivefold.realtime.replay.recompute import replay
from fivefold.realtime.replay.skew import skew
from fivefold.realtime.replay.why import why
from fivefold.workspace.predictions import find_prediction, log_folder

ROW = {"customer_id": "c1", "cents": 2000}


def ask(shop: Any, row: dict[str, Any] | None = None, endpoint: str = "chain") -> str:
    with shop.app() as asker:
        status, found = asker.ask(row or ROW, f"/predict/{endpoint}")
        assert status == 200
        return str(found["rows"][0]["id"])


def test_it_names_all_versions_and_what_each_step_made(stepped: Any) -> None:
    id = ask(stepped)
    with stepped.open() as w:
        told, logged = why(w, id), find_prediction(w.state, id)
    assert told.version is not None
    assert told.version.model == "deep"
    assert {m.model for m in told.members} == {"quick", "returned", "kind"}
    assert logged.versions == {"quick": 1, "returned": 1, "deep": 1, "kind": 1}
    assert {v.view for v in told.views} == {"returned.spending", "deep.spending", "kind.spending"}
    assert all(v.data.recorded for v in told.views)
    values = {f.name: f.value for f in told.features}
    assert values["verdict"] == told.prediction
    assert values["amount"] == 20.0
    assert values["deep.quick"] == values["quick"]


@pytest.mark.parametrize("filed", [False, True])
def test_computed_again_it_is_equal_whatever_happened_since(stepped: Any, filed: bool) -> None:
    ids = [ask(stepped), ask(stepped, {"customer_id": "nobody", "cents": None}), ask(stepped, {"customer_id": "c1", "amount": 2.5}, "blend")]
    stepped.edit('"0.25 * quick', '"0.5 * quick')
    stepped.edit('then \'refund\'', 'then \'again\'')
    stepped.edit('learner=ff.learner("logistic"), seed=0', 'learner=ff.learner("logistic", l2=50.0), seed=0')
    stepped.train("quick")
    stepped.materialise(1_773_000_000_000_000)
    if filed:
        LogFiles(log_folder(stepped.root / ".fivefold")).roll(lambda: False)
    with stepped.open() as w:
        for id in ids:
            again = replay(w, find_prediction(w.state, id))
            assert (again.equal, again.changed, again.predicted) == (True, [], again.served)
            assert again.compared > 4
    later = ask(stepped, {"customer_id": "c1", "amount": 2.5}, "blend")
    done = stepped.run("why", later, "--replay")
    assert done.returncode == 0, done.stderr
    assert "equal to the last bit" in done.stdout
    assert "quick@2" in done.stdout


def test_what_differs_is_named(stepped: Any) -> None:
    id = ask(stepped)
    with stepped.open() as w:
        logged = find_prediction(w.state, id)
        value, event, status = logged.features["deep.spending.last_amount"]
        wrong = {**logged.features, "deep.spending.last_amount": (value + 1, event, status)}
        again = replay(w, msgspec.structs.replace(logged, features=wrong))
        assert [(c.name, c.served, c.history) for c in again.changed] == [("deep.spending.last_amount", value + 1, value)]
        again = replay(w, msgspec.structs.replace(logged, row={**logged.row, "cents": 9000}))
        assert {"amount", "quick", "deep.quick", "mixed"} <= {c.name for c in again.changed}
        assert not replay(w, msgspec.structs.replace(logged, prediction="other")).equal


def test_steps_that_cannot_be_had_any_more_are_named(stepped: Any) -> None:
    id = ask(stepped)
    with stepped.open() as w:
        logged = find_prediction(w.state, id)
        assert logged.steps is not None
        gone = msgspec.structs.replace(logged.steps, graph="0" * 64)
        with pytest.raises(NotFound, match="are not kept on this machine"):
            replay(w, msgspec.structs.replace(logged, steps=gone))
    stepped.edit("(quick + deep) / 2", "(quick + deep) / 3")
    with stepped.open() as w, pytest.raises(Unsupported, match="udf:mixed, whose code has changed"):
        replay(w, find_prediction(w.state, id))


def test_skew_compares_the_features_of_every_member(stepped: Any) -> None:
    for i in range(5):
        ask(stepped, {"customer_id": f"c{i}", "cents": 500 + i})
    with stepped.open() as w:
        found = skew(w, endpoint="chain")
    assert (found.predictions, found.differ, found.left_out) == (5, 0, {})
    # three of returned, one of deep, three of kind
    assert found.compared == 5 * 7
