"""A version on trial: it answers its share, fails nobody, and stays or goes by itself."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any

import numpy as np
import pytest

import fivefold as ff
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.uses import Endpoint
from fivefold.lifecycle.release import find_version, put_on_trial
from fivefold.models.rollout import Arm, Decision
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.feedback import Labels
from fivefold.realtime.endpoints.labels import labelled_loss, require_label
from fivefold.realtime.endpoints.trial import Comparison, Known, Trial
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.protocols.rows import batch_of
from fivefold.workspace.predictions import newest_predictions

CANARY = ', rollout=ff.Canary("50%", by="customer_id", alpha=0.05)'


@pytest.fixture
def tried(shop: Any) -> Any:
    """A shop whose second version is a canary beside the first."""
    on_trial(shop, CANARY)
    return shop


def on_trial(shop: Any, rollout: str, role: str = "canary") -> None:
    shop.edit('live = ff.Endpoint("returned", returned', f'live = ff.Endpoint("returned", returned{rollout}')
    shop.edit(", seed=", ", seed=1") if ", seed=" in (shop.root / "project.py").read_text() else None
    with shop.open() as w:
        from fivefold.core.learning import Model
        from fivefold.mlops import plan as plans
        from fivefold.mlops.apply import apply
        from fivefold.mlops.train import train

        checked = plans.check(w)
        apply(w, checked, plans.plan(w))
        model = w.project.get("model", "returned")
        assert isinstance(model, Model)
        train(w, model, checked.schemas)
        made = put_on_trial(w, find_version(w, "returned@2"), role)
        assert made.verdict.passed
        assert not made.champion


class Serving:
    """A live endpoint in this process, its log, and what feeds labels back."""

    def __init__(self, shop: Any, at: int) -> None:
        self._opened = shop.open()
        self.workspace = self._opened.__enter__()
        self.store, self.log = self.workspace.online(), PredictionLog(self.workspace.state)
        endpoint = self.workspace.project.get(Endpoint.kind, "returned")
        assert isinstance(endpoint, Endpoint)
        self.live = Live(self.workspace, endpoint, self.store, self.log, at)

    def ask(self, count: int, seed: int = 0) -> list[Any]:
        chance = random.Random(seed)
        rows = [{"customer_id": f"c{chance.randrange(200)}", "amount": chance.uniform(0, 80)} for _ in range(count)]
        batches = [batch_of([row], self.live.signature.fields) for row in rows]
        return [o for i in range(0, count, 7) for o in self.live.answer_together(batches[i : i + 7])]

    def aliases(self) -> tuple[int | None, int | None]:
        aliases = self.workspace.catalog.aliases
        return aliases.current("returned", "champion"), aliases.current("returned", "canary")

    def close(self) -> None:
        self.live.close()
        self.log.close()
        self.store.close()
        self._opened.__exit__(None, None, None)


@pytest.fixture
def serving(tried: Any) -> Any:
    from shop_project import AT

    made = Serving(tried, AT)
    made.live.refresh()
    yield made
    made.close()


def versions(outcomes: list[Any]) -> dict[int, int]:
    found = [o.signature.version for o in outcomes]
    return {v: found.count(v) for v in set(found)}


def test_each_customer_meets_one_version_and_about_half_meet_the_canary(serving: Any) -> None:
    rows = [{"customer_id": f"c{i % 300}", "amount": i + 0.5} for i in range(900)]
    batches = [batch_of([row], serving.live.signature.fields) for row in rows]
    by_customer: dict[str, set[int]] = {}
    for start in range(0, 900, 50):
        for row, outcome in zip(rows[start : start + 50], serving.live.answer_together(batches[start : start + 50]), strict=True):
            by_customer.setdefault(row["customer_id"], set()).add(outcome.signature.version)
    assert all(len(met) == 1 for met in by_customer.values())
    canary = sum(met == {2} for met in by_customer.values())
    assert 110 < canary < 190
    serving.live.refresh()
    told = serving.live.rollout()
    assert told["champion"]["answers"] + told["other"]["answers"] == 900
    assert (told["champion"]["failed"], told["other"]["failed"], told["verdict"]["decision"]) == (0, 0, "wait")


def test_a_version_may_be_asked_for_and_only_those_that_answer(serving: Any) -> None:
    fields = serving.live.signature.fields
    for version in ("1", "2"):
        batch = batch_of([{"customer_id": "c1", "amount": 1.0}], fields, version=version)
        assert serving.live.answer(batch).signature.version == int(version)
    with pytest.raises(NotFound, match="does not serve the version '3'"):
        serving.live.answer(batch_of([{"customer_id": "c1", "amount": 1.0}], fields, version="3"))


def test_what_the_canary_fails_on_the_champion_answers_and_it_goes_back(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trying = serving.live._trying
    other = trying._tried[1]

    def fails(*_: Any) -> Any:
        raise RuntimeError("a broken model")

    monkeypatch.setattr(other, "answer", fails)
    outcomes = serving.ask(60)
    assert versions(outcomes) == {1: 60}
    assert not any(o.errors for o in outcomes)
    serving.live.refresh()
    assert serving.aliases() == (1, None)
    (change, *_) = [c for c in reversed(serving.workspace.catalog.aliases.history("returned", "canary")) if c.version is None]
    assert "it fails in" in change.reason
    assert change.actor == "rollout of returned"
    assert change.decision["canary"]["failed"] > 0
    assert versions(serving.ask(20)) == {1: 20}


def test_one_that_went_back_and_is_tried_again_begins_anew(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = serving.live._trying._tried[1]

    def fails(*_: Any) -> Any:
        raise RuntimeError("a broken model")

    with monkeypatch.context() as broken:
        broken.setattr(other, "answer", fails)
        serving.ask(60)
        serving.live.refresh()
    assert serving.aliases() == (1, None)
    assert not [s for s in serving.store.spaces() if s.startswith("rollout#")], "what was decided on is gone"
    put_on_trial(serving.workspace, find_version(serving.workspace, "returned@2"), "canary")
    serving.live.refresh()
    assert len(versions(serving.ask(60))) == 2
    serving.live.refresh()
    assert serving.aliases() == (1, 2)
    assert serving.live.rollout()["other"]["failed"] == 0


def test_a_row_that_nobody_can_answer_is_no_failure_of_the_canary(serving: Any) -> None:
    fields = serving.live.signature.fields
    batches = [batch_of([{"customer_id": f"c{i}", "amount": "x"}], fields) for i in range(40)]
    outcomes = serving.live.answer_together(batches)
    assert all(set(o.errors) == {0} for o in outcomes)
    serving.live.refresh()
    told = serving.live.rollout()
    assert (told["champion"]["failed"], told["other"]["failed"]) == (0, 0)


def labelled(serving: Any, better: int) -> str | None:
    """Ask, and say afterwards that one version was right more often; the decision that led to."""
    for round_number in range(60):
        serving.ask(200, round_number)
        time.sleep(0.12)  # the log is written twenty times a second
        labels = Labels(serving.workspace, serving.store)
        found = newest_predictions(serving.workspace.state, 200)
        chance = random.Random(round_number)
        given = []
        for p in found:
            right = chance.random() < (0.95 if p.version == better else 0.05)
            given.append({"id": p.id, "label": (p.prediction >= 0.5) == right})
        assert labels.take({"returned": serving.live}, given) == [None] * len(given)
        serving.live.refresh()
        if serving.live.rollout() is None:
            return "decided"
    return None


def test_a_better_canary_becomes_champion_by_itself(serving: Any) -> None:
    assert labelled(serving, better=2) == "decided"
    assert serving.aliases() == (2, None)
    (newest,) = [c for c in serving.workspace.catalog.aliases.history("returned", "champion") if c.version == 2]
    assert newest.reason.startswith("canary: its mean loss is")
    assert versions(serving.ask(20)) == {2: 20}


def test_a_worse_canary_goes_back_by_itself(serving: Any) -> None:
    assert labelled(serving, better=1) == "decided"
    assert serving.aliases() == (1, None)
    assert versions(serving.ask(20)) == {1: 20}


def test_labels_count_once_and_bad_ones_are_refused_by_name(serving: Any) -> None:
    serving.ask(50)
    time.sleep(0.3)
    found = newest_predictions(serving.workspace.state, 50)
    labels, live = Labels(serving.workspace, serving.store), {"returned": serving.live}
    given = [{"id": p.id, "label": True} for p in found[:20]]
    assert labels.take(live, [*given, *given[:3]]) == [None] * 23
    assert labels.take(live, given) == [None] * 20
    serving.live.refresh()
    told = serving.live.rollout()
    assert told["champion"]["labels"] + told["other"]["labels"] == 20
    errors = labels.take(live, [{"id": found[0].id, "label": False}, {"id": found[21].id, "label": "maybe"}, {"id": "x"},
                                {"id": "p" + "0" * 30, "label": True}, 7, {"id": found[22].id, "label": 1}])
    assert [type(e) for e in errors] == [Conflict, Invalid, Invalid, NotFound, Invalid, type(None)]
    assert "has the label True already" in str(errors[0]) or "true already" in str(errors[0])


def test_a_shadow_answers_nobody_and_is_compared(shop: Any) -> None:
    from shop_project import AT

    on_trial(shop, ", rollout=ff.Shadow()", "shadow")
    serving = Serving(shop, AT)
    try:
        serving.live.refresh()
        assert versions(serving.ask(120)) == {1: 120}
        end = time.monotonic() + 20
        while time.monotonic() < end:
            serving.live.refresh()
            told = serving.live.rollout()
            if told["differ"]["rows"] >= 64:
                break
            time.sleep(0.05)
        assert told["role"] == "shadow"
        assert told["differ"]["rows"] >= 64
        assert told["other"]["failed"] == 0
        assert len(newest_predictions(serving.workspace.state, 1000)) <= 120
    finally:
        serving.close()


def test_two_processes_add_to_one_knowledge_and_one_decides(serving: Any) -> None:
    rollout = ff.Canary("10%")
    one, other = (Trial(serving.store, "e", rollout, 7, 8) for _ in range(2))

    def tell(trial: Trial) -> None:
        for _ in range(50):
            trial.answered(7, 9, 0, 0)
            trial.answered(8, 1, 0, 0)
            trial.lost(8, 2.0)
            trial.settle()

    threads = [threading.Thread(target=tell, args=(t,)) for t in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.settle()
    assert one.known.champion == Arm(900)
    assert (one.known.other.answers, one.known.other.losses, one.known.other.mean) == (100, 100, 2.0)
    again = Trial(serving.store, "e", rollout, 7, 8)
    assert again.known == one.known


def test_what_is_known_is_kept_while_the_store_is_away(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fivefold.core.errors import Unavailable

    trial = Trial(serving.store, "f", ff.Canary("10%"), 1, 2)
    trial.answered(2, 5, 1, 0)
    with monkeypatch.context() as away:
        away.setattr(serving.store, "commit", lambda writes: (_ for _ in ()).throw(Unavailable("it is away.")))
        with pytest.raises(Unavailable):
            trial.settle()
    trial.answered(2, 5, 0, 0)
    verdict = trial.settle()
    assert trial.known.other == Arm(10, 1)
    assert verdict is not None
    assert verdict.decision is Decision.WAIT


def test_known_things_merge() -> None:
    a = Known(Arm(1), Arm(2), Comparison(3, 1, 0.5, 0.5))
    assert a.merged(a).comparison == Comparison(6, 2, 1.0, 0.5)


@pytest.mark.parametrize("given", ["0%", "101%", "10", "x%", "-1%", "nan%"])
def test_shares_are_shares(given: str) -> None:
    with pytest.raises(Invalid, match="is no share"):
        ff.Canary(given)
    with pytest.raises(Invalid, match="is no share"):
        ff.Shadow(given)


@pytest.mark.parametrize("more", [{"alpha": 0.0}, {"alpha": 0.6}, {"tolerance": -0.1}, {"margin": -1.0}, {"answers": 0}])
def test_other_settings_are_bounded(more: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="Canary, "):
        ff.Canary("10%", **more)  # type: ignore[arg-type]


def test_labels_are_those_of_the_task() -> None:
    from types import SimpleNamespace

    about: Any = SimpleNamespace(task="multiclass", classes=["a", "b"])
    assert labelled_loss(about, {"a": 0.25, "b": 0.75}, "b") == pytest.approx(-np.log(0.75))
    for task, label in (("multiclass", "c"), ("binary", 2), ("binary", "true"), ("regression", True), ("regression", "1")):
        with pytest.raises(Invalid, match="the label"):
            require_label(SimpleNamespace(task=task, classes=["a"]), label)  # type: ignore[arg-type]


def test_over_http_labels_are_fed_back_and_the_list_of_endpoints_tells(tried: Any, row: dict[str, Any]) -> None:
    with tried.serve() as server:
        ids = [server.ask({**row, "customer_id": f"c{i}"})[1]["rows"][0]["id"] for i in range(20)]
        time.sleep(0.3)
        status, told = server.ask({"labels": [{"id": i, "label": True} for i in ids]}, "/feedback")
        assert (status, told) == (200, {"taken": 20, "errors": []})
        status, told = server.ask({"id": ids[0], "label": False}, "/feedback")
        assert (status, "already" in json.dumps(told)) == (409, True)
        time.sleep(1.2)
        rollout = server.get("/")[1]["endpoints"]["returned"]["rollout"]
        assert rollout["champion"]["labels"] + rollout["other"]["labels"] == 20
        assert rollout["role"] == "canary"


def test_the_command_line_puts_on_trial(tried: Any) -> None:
    done = tried.run("promote", "returned@1", "--canary")
    assert done.returncode == 1
    assert "is champion already" in done.stderr
    done = tried.run("promote", "returned@2", "--canary", "--shadow")
    assert "do not go together" in done.stderr
    assert "returned@2 is shadow beside version 1." in tried.run("promote", "returned@2", "--shadow").stdout
