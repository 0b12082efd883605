from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from fivefold.catalog import Catalog
from fivefold.catalog.run_rows import Latest
from fivefold.catalog.runs import Metric
from fivefold.core.errors import Conflict, Invalid, NotFound


def test_a_run_is_read_back_with_the_last_value_of_each_metric(catalog: Catalog, clock: Any) -> None:
    catalog.runs.create("r1", "train", "late", params={"leaves": "63"}, tags={"team": "ops"}, actor="ada")
    at = clock.pass_(10)
    catalog.runs.log("r1", metrics=[Metric("auc", 0.7, 1), Metric("auc", 0.8, 3, 5, 0.75, 0.85), Metric("auc", 0.6, 2)])
    catalog.runs.log("r1", metrics=[Metric("loss", 1.5)], params={"rate": "0.1"}, tags={"team": "ml"})
    run = catalog.runs.get("r1")
    assert (run.kind, run.name, run.status, run.actor, run.ended_at) == ("train", "late", "running", "ada", None)
    assert (run.params, run.tags) == ({"leaves": "63", "rate": "0.1"}, {"team": "ml"})
    assert run.metrics == {"auc": Latest(0.8, 3, 5, 0.75, 0.85), "loss": Latest(1.5, 0, at)}
    assert catalog.search.history("r1", "auc") == (
        Metric("auc", 0.7, 1, at), Metric("auc", 0.6, 2, at), Metric("auc", 0.8, 3, 5, 0.75, 0.85))


def test_the_last_value_is_that_of_the_greatest_step_then_time_then_the_last_logged(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late")
    for value, step, time in ((1.0, 2, 20), (2.0, 2, 10), (3.0, 1, 99), (4.0, 2, 20)):
        catalog.runs.log("r1", metrics=[Metric("one by one", value, step, time)])
    catalog.runs.log("r1", metrics=[Metric("at once", 1.0, 2, 20), Metric("at once", 2.0, 2, 10)])
    assert {key: last.value for key, last in catalog.runs.get("r1").metrics.items()} == {
        "one by one": 4.0, "at once": 1.0}


def test_nan_and_infinities_are_kept(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late")
    values = [math.inf, -math.inf, 1e308, 5e-324, math.nan]
    catalog.runs.log("r1", metrics=[Metric("loss", value, step) for step, value in enumerate(values)])
    history = [m.value for m in catalog.search.history("r1", "loss")]
    assert history[:4] == values[:4]
    assert math.isnan(history[4])
    assert math.isnan(catalog.runs.get("r1").metrics["loss"].value)


def test_creating_a_run_again_returns_it_and_another_under_its_id_is_a_conflict(catalog: Catalog) -> None:
    first = catalog.runs.create("r1", "train", "late")
    assert catalog.runs.create("r1", "train", "late") == first
    with pytest.raises(Conflict, match="'r1' is train 'late', not train 'early'"):
        catalog.runs.create("r1", "train", "early")
    assert len(catalog.audit.log()) == 1


def test_a_param_never_changes_and_nothing_else_of_the_call_is_kept(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late", params={"leaves": "63"})
    catalog.runs.log("r1", params={"leaves": "63"})
    with pytest.raises(Conflict, match="'leaves' is '63' already, not '31'"):
        catalog.runs.log("r1", params={"leaves": "31", "new": "1"}, metrics=[Metric("auc", 0.5)])
    run = catalog.runs.get("r1")
    assert (run.params, run.metrics) == ({"leaves": "63"}, {})
    assert catalog.search.history("r1", "auc") == ()


def test_a_call_repeated_under_its_key_counts_once(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late")
    for _ in range(3):
        catalog.runs.log("r1", metrics=[Metric("auc", 0.5), Metric("auc", 0.5)], key="first")
    catalog.runs.log("r1", metrics=[Metric("auc", 0.5)], key="second")
    assert len(catalog.search.history("r1", "auc")) == 3
    with pytest.raises(Conflict, match="'first' was used for other values"):
        catalog.runs.log("r1", metrics=[Metric("auc", 0.6)], key="first")


def test_logging_to_no_run_is_not_found(catalog: Catalog) -> None:
    for call in (lambda: catalog.runs.log("none", tags={"a": "b"}), lambda: catalog.runs.get("none"),
                 lambda: catalog.runs.finish("none"), lambda: catalog.runs.renew("none")):
        with pytest.raises(NotFound, match="no run 'none'"):
            call()


@pytest.mark.parametrize("metric", [Metric("", 1.0), Metric("a\n", 1.0), Metric("a", "1"),  # type: ignore[arg-type]
                                    Metric("a", 1.0, 2**63), Metric("a", 1.0, 0, -2**63 - 1)])
def test_a_metric_that_cannot_be_kept_is_invalid(catalog: Catalog, metric: Metric) -> None:
    catalog.runs.create("r1", "train", "late")
    with pytest.raises(Invalid, match="metric"):
        catalog.runs.log("r1", metrics=[metric])


def test_one_call_takes_ten_thousand_metrics_and_not_one_more(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late")
    catalog.runs.log("r1", metrics=[Metric(f"m{n % 100}", n, n) for n in range(10_000)])
    assert catalog.runs.get("r1").metrics["m7"].value == 9907
    with pytest.raises(Invalid, match="10001 metrics in one call"):
        catalog.runs.log("r1", metrics=[Metric("m", 1.0)] * 10_001)


def test_a_finished_run_stays_so_and_finishing_again_does_nothing(catalog: Catalog, clock: Any) -> None:
    catalog.runs.create("r1", "train", "late")
    ended = clock.pass_(7)
    done = catalog.runs.finish("r1", actor="ada")
    clock.pass_(7)
    assert (done.status, done.ended_at) == ("finished", ended)
    assert catalog.runs.finish("r1") == done
    for call in (lambda: catalog.runs.finish("r1", status="failed", error="x"), lambda: catalog.runs.renew("r1")):
        with pytest.raises(Conflict, match="finished already"):
            call()
    with pytest.raises(Invalid, match="'running' is not how a run ends"):
        catalog.runs.finish("r1", status="running")


def test_a_run_whose_lease_is_over_counts_as_killed_until_it_gives_a_sign_of_life(catalog: Catalog, clock: Any) -> None:
    catalog.runs.create("dead", "train", "late", lease_us=100)
    catalog.runs.create("alive", "train", "late", lease_us=100)
    clock.pass_(99)
    assert catalog.runs.get("dead").status == "running"
    catalog.runs.renew("alive", lease_us=100)
    over = clock.pass_(1)
    assert [catalog.runs.get(id).status for id in ("dead", "alive")] == ["killed", "running"]
    assert [r.id for r in catalog.search.runs(status="killed").runs] == ["dead"]
    assert [r.id for r in catalog.search.runs(status="running").runs] == ["alive"]
    clock.pass_(50)
    assert catalog.runs.mark_killed() == ("dead",)
    assert catalog.runs.mark_killed() == ()
    assert (catalog.runs.get("dead").status, catalog.runs.get("dead").ended_at) == ("killed", over)
    assert catalog.runs.renew("dead").status == "running"
    assert catalog.runs.finish("dead").status == "finished"


def test_a_deleted_run_is_hidden_until_it_is_restored(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late")
    catalog.runs.delete("r1", actor="ada")
    catalog.runs.delete("r1", actor="ada")
    assert catalog.search.runs().runs == ()
    assert [r.id for r in catalog.search.runs(deleted=True).runs] == ["r1"]
    catalog.runs.restore("r1", actor="ada")
    assert [r.id for r in catalog.search.runs().runs] == ["r1"]
    assert [e.action for e in catalog.audit.log()] == ["restore", "delete", "create"]


def test_a_removed_tag_is_gone_from_the_run_and_from_searches(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late", tags={"team": "ops", "kept": "yes"})
    catalog.runs.remove_tag("r1", "team")
    catalog.runs.remove_tag("r1", "team")
    assert catalog.runs.get("r1").tags == {"kept": "yes"}
    assert catalog.search.runs(tags={"team": "ops"}).runs == ()


def test_processes_that_log_to_one_run_at_once_lose_nothing(
        catalog: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    catalog.runs.create("r1", "train", "late")
    code = """
from fivefold.catalog.runs import Metric
with open_catalog(url, "flights", clock=lambda: 5) as c:
    for step in range(20):
        for _ in range(2):
            c.runs.log("r1", metrics=[Metric("all", number, step), Metric(f"own{number}", step, step)],
                       tags={f"t{number}": str(step)}, key=f"{number}-{step}")
print("done")
"""
    assert together(code, catalog_url, 4) == ["done"] * 4
    run = catalog.runs.get("r1")
    assert sorted((m.step, m.value) for m in catalog.search.history("r1", "all")) == [
        (step, number) for step in range(20) for number in range(4)]
    assert {key: last.value for key, last in run.metrics.items() if key != "all"} == {f"own{n}": 19 for n in range(4)}
    assert run.tags == {f"t{n}": "19" for n in range(4)}
