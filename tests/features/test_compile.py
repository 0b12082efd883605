from __future__ import annotations

import pytest

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.core.time import DAY, HOUR, MINUTE
from fivefold.core.types import Type
from fivefold.features.compile import delay_of, sources

SCHEMAS = {"trips": {"zone": Type.STRING, "at": Type.TIMESTAMP, "km": Type.FLOAT64, "seats": Type.INT64}}
TRIPS = ff.Table("trips", "trips.csv", time="at", seq="seats", id="zone", delay="10m")
ZONE = ff.Entity("zone", key="zone")


def test_each_view_becomes_one_plan_with_the_chosen_features_only() -> None:
    near = ff.FeatureView("near", ZONE, TRIPS, [ff.count(over="1h"), ff.mean("km"), ff.sum("seats")])
    far = ff.FeatureView("far", ZONE, TRIPS, [ff.last("km", ago="2h"), ff.top("zone", 3)])
    one, other = sources([near["mean_km", "count_1h"], far], SCHEMAS, {"trips": {"km": 12}}, lambda name: f"of_{name}")
    assert (one.name, one.relation, one.keys, one.time, one.seq, one.id, one.delay) == (
        "near", "of_trips", ("zone",), "at", "seats", "zone", 10 * MINUTE)
    assert [(a.name, a.over, a.scale) for a in one.aggregates] == [
        ("near.mean_km", None, 12), ("near.count_1h", HOUR, None)]
    assert [(a.name, a.ago, a.scale, a.k) for a in other.aggregates] == [
        ("far.last_km_ago_2h", 2 * HOUR, None, None), ("far.top3_zone", 0, None, 3)]


def test_a_ttl_bounds_what_has_no_window_of_its_own() -> None:
    view = ff.FeatureView("near", ZONE, TRIPS, [ff.last("km"), ff.count(over="1h")], ttl="6h")
    (plan,) = sources([view], SCHEMAS, {}, str)
    assert [a.over for a in plan.aggregates] == [6 * HOUR, HOUR]


def test_the_view_s_delay_goes_before_the_source_s() -> None:
    assert delay_of(ff.FeatureView("near", ZONE, TRIPS, [ff.count()], delay="1h")) == HOUR
    assert delay_of(ff.FeatureView("near", ZONE, TRIPS, [ff.count()])) == 10 * MINUTE


def test_a_stream_is_read_from_its_history_by_its_own_rules() -> None:
    live = ff.Stream("live", schema={"zone": str, "km": float}, time="at", id="zone", history=TRIPS)
    (plan,) = sources([ff.FeatureView("near", ZONE, live, [ff.count()])], SCHEMAS, {}, lambda name: f"of_{name}")
    assert (plan.relation, plan.seq, plan.id, plan.delay) == ("of_trips", None, "zone", 0)


def test_ids_count_as_long_as_the_stream_knows_them_and_in_a_table_for_ever() -> None:
    def within(source: ff.Table | ff.Stream) -> int | None:
        (plan,) = sources([ff.FeatureView("near", ZONE, source, [ff.count()])], SCHEMAS, {}, str)
        return plan.id_within

    assert within(TRIPS) is None
    for lateness, expected in (("1h", DAY), ("3d", 3 * DAY)):
        assert within(ff.Stream("live", schema={"zone": str}, time="at", id="zone", history=TRIPS, lateness=lateness)) == expected
    assert within(ff.Stream("live", schema={"zone": str}, time="at", history=TRIPS)) is None


def test_a_sum_of_floats_without_a_pinned_scale_says_to_apply() -> None:
    view = ff.FeatureView("near", ZONE, TRIPS, [ff.sum("km")])
    with pytest.raises(Invalid, match=r"feature_view:near\.sum_km: no scale is pinned for trips\.km\. Run `fivefold ap"):
        sources([view], SCHEMAS, {}, str)
