from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.catalog import Catalog, open_catalog
from fivefold.catalog.conditions import Condition
from fivefold.catalog.runs import Metric
from fivefold.core.errors import Invalid

VALUES = st.one_of(st.none(), st.sampled_from([0.0, -1.5, 2.0, math.inf, -math.inf, math.nan]))
RUNS = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3), VALUES, st.sampled_from(["x", "y"])),
                max_size=12)


def test_filters_are_met_together(catalog: Catalog) -> None:
    _three(catalog)
    found = {
        "all": catalog.search.runs(), "kind": catalog.search.runs(kind="score"),
        "name": catalog.search.runs(name="early"), "tag": catalog.search.runs(tags={"team": "ops"}),
        "tags": catalog.search.runs(tags={"team": "ops", "city": "JFK"}),
        "status": catalog.search.runs(status="failed"),
        "metric": catalog.search.runs(where=[Condition("metrics.auc", ">=", 0.8)]),
        "metric order": catalog.search.runs(where=[Condition("metrics.auc", "<", 0.8)], order="metrics.auc"),
        "param": catalog.search.runs(where=[Condition("params.leaves", "!=", "31")]),
        "time": catalog.search.runs(where=[Condition("started_at", ">", 1), Condition("kind", "=", "train")])}
    assert {key: [r.id for r in page.runs] for key, page in found.items()} == {
        "all": ["r3", "r2", "r1"], "kind": ["r3"], "name": ["r2"], "tag": ["r3", "r1"], "tags": ["r1"],
        "status": ["r2"], "metric": ["r1"], "metric order": ["r2"], "param": ["r2"], "time": ["r2"]}


def test_only_the_metrics_asked_for_are_read(catalog: Catalog) -> None:
    _three(catalog)
    assert set(catalog.search.runs(name="late", kind="train").runs[0].metrics) == {"auc", "loss"}
    assert set(catalog.search.runs(metrics=["auc"], kind="train", name="late").runs[0].metrics) == {"auc"}
    none = catalog.search.runs(metrics=[], kind="train", name="late").runs[0]
    assert (none.metrics, none.params, none.tags) == ({}, {"leaves": "31"}, {"team": "ops", "city": "JFK"})


def test_a_search_never_reads_the_history_of_metrics(catalog: Catalog) -> None:
    _three(catalog)
    seen: list[str] = []
    sa.event.listen(catalog.database.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    catalog.search.runs(order="metrics.auc", tags={"team": "ops"}, where=[Condition("metrics.loss", "<", 9)])
    assert len(seen) == 2  # those with the metric, and those without
    assert not any("ff_points" in statement for statement in seen)


@pytest.mark.parametrize(("given", "says"), [
    ({"order": "loss"}, "order: 'loss'"), ({"limit": 0}, "limit: 0"), ({"limit": 50_001}, "50001"),
    ({"page": "!"}, "page: '!'"), ({"page": "AAAA"}, "page: 'AAAA'"),
    ({"status": "finishd"}, "Did you mean 'finished'"),
    ({"where": [Condition("nam", "=", "x")]}, "Did you mean 'name'"),
    ({"where": [Condition("metrics.", "=", 1)]}, "not a field"),
    ({"where": [Condition("metrics.auc", "=", "x")]}, "a number"),
    ({"where": [Condition("metrics.auc", "<>", 1)]}, "one of = !="),
    ({"where": [Condition("started_at", "<", 2**63)]}, "not accepted"),
    ({"where": [Condition("name", "<", "x")]}, "a text and one of = !=")])
def test_a_wrong_question_says_what_is_accepted(catalog: Catalog, given: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid) as raised:
        catalog.search.runs(**given)
    assert says in str(raised.value)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, order=st.sampled_from(["started_at", "metrics.m"]), descending=st.booleans(),
       name=st.sampled_from([None, "a"]), tag=st.sampled_from([None, "x"]), limit=st.integers(1, 5))
def test_pages_give_every_run_once_in_the_order_of_a_plain_sort(
        catalog: Catalog, runs: list[Any], order: str, descending: bool, name: str | None, tag: str | None, limit: int
) -> None:
    with open_catalog(catalog.database.engine.url.render_as_string(hide_password=False).replace("+psycopg", ""),
                      uuid.uuid4().hex) as fresh:
        for number, (run_name, started, value, label) in enumerate(runs):
            fresh.runs.create(f"r{number:02}", "train", run_name, started_at=started, tags={"label": label})
            if value is not None:
                fresh.runs.log(f"r{number:02}", metrics=[Metric("m", value)])
        asked: dict[str, Any] = {"order": order, "descending": descending, "name": name, "limit": limit,
                                 "tags": {"label": tag} if tag else None}
        found, page = [], ""
        while True:
            got = fresh.search.runs(**asked, page=page)
            found += [r.id for r in got.runs]
            page = got.next
            if not page:
                break
            assert len(got.runs) == limit
        assert found == _naive(runs, order, descending, name, tag)


def _naive(runs: list[Any], order: str, descending: bool, name: str | None, tag: str | None) -> list[str]:
    rows = [(f"r{n:02}", *run) for n, run in enumerate(runs) if name in (None, run[0]) and tag in (None, run[3])]
    if order == "started_at":
        return [r[0] for r in sorted(rows, key=lambda r: (r[2], r[0]), reverse=descending)]
    having = [r for r in rows if r[3] is not None and not math.isnan(r[3])]
    rest = [r for r in rows if r not in having]
    return [r[0] for r in sorted(having, key=lambda r: (r[3], r[0]), reverse=descending)] + [
        r[0] for r in sorted(rest, key=lambda r: (r[2], r[0]), reverse=True)]


def _three(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late", started_at=1, tags={"team": "ops", "city": "JFK"},
                        params={"leaves": "31"})
    catalog.runs.create("r2", "train", "early", started_at=2, params={"leaves": "63"})
    catalog.runs.create("r3", "score", "late", started_at=3, tags={"team": "ops"})
    catalog.runs.log("r1", metrics=[Metric("auc", 0.6, 1), Metric("auc", 0.8, 2), Metric("loss", 1.0)])
    catalog.runs.log("r2", metrics=[Metric("auc", 0.9, 1), Metric("auc", 0.7, 2), Metric("loss", 2.0)])
    catalog.runs.finish("r2", status="failed", error="no data")
