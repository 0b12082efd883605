"""The plan of a request, measured."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fivefold.core.uses import Endpoint
from fivefold.realtime.batching.latency import Fit
from fivefold.realtime.processes import explain
from fivefold.realtime.processes.explain_plan import limits
from fivefold.workspace.predictions import read_predictions


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "REQUESTS", 30)
    monkeypatch.setattr(explain, "WARM", 5)


def test_stages_follow_one_another_and_make_up_the_whole(shop: Any) -> None:
    shop.edit('ff.Endpoint("returned", returned)',
              'ff.Endpoint("returned", returned, cache="1h", slo="50ms")\nother = ff.Endpoint("other", returned, feature_cache="1h", steps=[returned, ff.Derived("sure", "returned > 0.5")])')
    with shop.open() as w:
        chosen = [e for e in w.project.of(Endpoint.kind) if isinstance(e, Endpoint)]
        plan, other = explain.explained(w, chosen, 1_772_000_000_000_000)
        assert list(read_predictions(w.state, 10)) == [], "nothing of it is in the real log"
    assert {plan.endpoint, other.endpoint} == {"returned", "other"}
    plan, other = (plan, other) if plan.endpoint == "returned" else (other, plan)
    assert "steps one after the other" in next(s.what for s in other.stages if s.name == "model")
    assert "lookup" not in [s.name for s in other.stages]
    assert any(re.match(r"feature cache: \d+ of \d+ rows", n) for n in other.notes)
    assert "feature cache: none; every request reads the online store." in plan.notes
    assert [s.name for s in plan.stages] == [
        "read", "admit", "decode", "wait", "lookup", "model", "log", "encode", "write", "whole"]
    *parts, whole = plan.stages
    assert all(0 < s.median <= s.p99 for s in plan.stages)
    assert 0.6 < sum(s.share for s in parts) < 1.4
    assert whole.share == 1.0
    assert "spending in spending@" in next(s.what for s in parts if s.name == "lookup")
    assert plan.notes[0].startswith("calls: L(n) = ")
    assert any("50 ms is refused" in n for n in plan.notes)
    assert any(n.startswith("cache: above none") for n in plan.notes)


def test_an_endpoint_without_a_champion_has_no_plan(untrained: Any) -> None:
    done = untrained.run("serve", "--explain")
    assert done.returncode == 1
    assert "champion" in done.stderr


def test_the_command_prints_it(shop: Any) -> None:
    done = shop.run("serve", "--explain", "--at", "2026-02-25T06:13:20Z")
    assert done.returncode == 0, done.stderr
    for word in ("returned@1", "median", "lookup", "L(n) =", "admission:", "cache: none"):
        assert word in done.stdout


def test_limits_follow_from_the_fit_and_the_time_promised() -> None:
    short, long = Fit(), Fit()
    short.each, short.once = 1e5, 1e6
    long.each, long.once, long.beyond = 1e6, 8e6, 1e6
    assert any("admission: 90 rows a turn" in line for line in limits(short, 20_000_000))
    assert any("admission: 11 rows may wait" in line for line in limits(long, 20_000_000))
