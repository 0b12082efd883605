"""A feature of a federation is of a site's own rows or of what everyone knows; any other is refused with the reason."""

from __future__ import annotations

import pytest

import fivefold as ff
from fivefold.core.errors import Several
from fivefold.core.project import collect
from fivefold.core.types import Type
from fivefold.core.wiring import check

I, F, S, T, B = Type.INT64, Type.FLOAT64, Type.STRING, Type.TIMESTAMP, Type.BOOL
RAW = ff.Table("raw", "r.csv", time="at")
PLANES = ff.Table("planes", "p.csv")
READINGS = ff.Table("readings", "w.csv", time="at")
FLIGHTS = ff.View("flights", "select r.carrier, r.origin, r.late, r.delay, r.at, p.seats from raw r left join planes p on r.tail = p.tail", time="at")
WEATHER_ROWS = ff.View("weather_rows", "select origin, max(wind) as wind, at from readings group by origin, at", time="at")
SOURCES = [RAW, PLANES, READINGS]
SCHEMAS = {
    "raw": {"carrier": S, "origin": S, "tail": S, "late": B, "delay": F, "at": T}, "planes": {"tail": S, "seats": I},
    "readings": {"origin": S, "wind": F, "at": T}, "weather_rows": {"origin": S, "wind": F, "at": T},
    "flights": {"carrier": S, "origin": S, "late": B, "delay": F, "at": T, "seats": I}}
OWN = ff.FeatureView("own", ff.Entity("route", key=["carrier", "origin"]), FLIGHTS, [ff.count(over="1d")])
WEATHER = ff.FeatureView("weather", ff.Entity("airport", key="origin"), WEATHER_ROWS, [ff.last("wind")])
ALL = ff.FeatureView("congestion", ff.Entity("airport", key="origin"), FLIGHTS, [ff.count(over="1h")])


def federation(features, rows=FLIGHTS, **more):  # type: ignore[no-untyped-def]
    model = ff.Model("m", ff.Target(rows, "late"), features, ff.learner("logistic"), ff.RandomSplit())
    return ff.Federation("f", model, **{"split": "carrier", "public": [PLANES, READINGS], **more})


def test_own_history_and_public_sources_are_accepted() -> None:
    check(collect("p", [*SOURCES, federation([OWN, WEATHER, ff.Request("seats", int)])]), SCHEMAS)


def test_a_text_with_levels_is_accepted() -> None:
    check(collect("p", [*SOURCES, federation([ff.Request("origin", str)], levels={"origin": ["EWR", "JFK"]})]), SCHEMAS)


GROUPED = ff.View("grouped", "select carrier, any_value(late) as late, max(at) as at from raw group by carrier", time="at")
RENAMED = ff.View("renamed", "select origin as carrier, late, at from raw", time="at")


@pytest.mark.parametrize(("made", "message"), [
    (federation([ALL]), "feature_view:congestion is of the rows of all sites, since its entity:airport is keyed by origin only"),
    (federation([OWN], public=[READINGS]), "view:flights joins table:planes, which is not public"),
    (federation([WEATHER], public=[PLANES]), "cannot compute feature_view:weather alone: view:weather_rows groups"),
    (federation([ff.Request("late", bool)], rows=GROUPED), "view:grouped groups, orders or combines rows"),
    (federation([ff.Request("late", bool)], rows=RENAMED), "its column 'carrier' is not that of raw"),
    (federation([OWN], split="airline"), "no column of view:flights for federation:f, split=: 'airline'"),
    (federation([ff.Request("origin", str)]), "the feature 'origin' is a text"),
    (federation([OWN], levels={"orgin": ["a"]}), "levels=: 'orgin'"),
    (federation([ff.Request("seats", int)], levels={"seats": ["a"]}), "which is int64 and not a text")])
def test_what_a_site_cannot_know_is_refused_with_the_reason(made: ff.Federation, message: str) -> None:
    with pytest.raises(Several) as caught:
        check(collect("p", [*SOURCES, made]), {**SCHEMAS, "grouped": {"carrier": S, "late": B, "at": T}, "renamed": {"carrier": S, "late": B, "at": T}})
    assert message in str(caught.value)
