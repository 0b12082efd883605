from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.catalog import Catalog
from fivefold.catalog.lineage import Thing
from fivefold.core.errors import Invalid

RAW, VIEW, RUN, VERSION = Thing("table", "raw"), Thing("view", "flights"), Thing("run", "r"), Thing("version", "late/1")
CHAIN = [(RAW, VIEW, "input"), (VIEW, RUN, "input"), (RUN, VERSION, "output")]


def test_edges_are_followed_through_others_the_nearest_first(catalog: Catalog) -> None:
    assert catalog.lineage.link(CHAIN, actor="ada") == 3
    assert [(e.source, e.to) for e in catalog.lineage.upstream(VERSION)] == [
        (RUN, VERSION), (VIEW, RUN), (RAW, VIEW)]
    assert [e.to for e in catalog.lineage.downstream(RAW)] == [VIEW, RUN, VERSION]
    assert [e.to for e in catalog.lineage.downstream(RAW, depth=1)] == [VIEW]
    assert catalog.lineage.upstream(RAW) == ()


def test_linking_again_adds_nothing(catalog: Catalog) -> None:
    catalog.lineage.link(CHAIN)
    assert catalog.lineage.link(CHAIN) == 0
    assert catalog.lineage.link([(RAW, VIEW, "checked by")]) == 1
    assert len(catalog.audit.log()) == 4


def test_too_much_lineage_is_refused_and_not_cut_off(catalog: Catalog) -> None:
    catalog.lineage.link([(RAW, Thing("run", str(n)), "input") for n in range(11)])
    assert len(catalog.lineage.downstream(RAW, limit=11)) == 11
    with pytest.raises(Invalid, match="more than 10 edges"):
        catalog.lineage.downstream(RAW, limit=10)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=25), st.sampled_from([None, 1, 2, 3]))
def test_any_graph_with_cycles_is_followed_as_by_hand(
        catalog: Catalog, pairs: list[tuple[int, int]], depth: int | None) -> None:
    kind = uuid.uuid4().hex
    catalog.lineage.link([(Thing(kind, str(a)), Thing(kind, str(b)), "input") for a, b in pairs])
    away = {0: 0}
    for _ in range(10):
        for a, b in pairs:
            if a in away:
                away[b] = min(away.get(b, 99), away[a] + 1)
    wanted = {(a, b) for a, b in pairs if a in away and (depth is None or away[a] < depth)}
    found = catalog.lineage.downstream(Thing(kind, "0"), depth=depth)
    assert {(int(e.source.id), int(e.to.id)) for e in found} == wanted
    assert len(found) == len(wanted)
    distances = [away[int(e.source.id)] for e in found]
    assert distances == sorted(distances)
