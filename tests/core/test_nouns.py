import msgspec
import pytest

import fivefold as ff
from fivefold.core.noun import definition, noun_digest


def test_declarations_cannot_be_changed() -> None:
    table = ff.Table("t", "t.csv")
    with pytest.raises(AttributeError):
        table.url = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["", "Upper", "has space", "9first", "a-b", "x" * 64])
def test_a_bad_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ff.Invalid, match="is not a name"):
        ff.Table(name, "t.csv")


def test_one_meaning_written_two_ways_has_one_digest() -> None:
    a = ff.FeatureView("v", ff.Entity("e", key="k"), ff.Table("t", "t.csv", time="at"), [ff.mean("x", over="60m")], ttl="24h")
    b = ff.FeatureView("v", ff.Entity("e", key=["k"]), ff.Table("t", "t.csv", time="at"), (ff.mean("x", over="1h"),), ttl="1d")
    assert noun_digest(a) == noun_digest(b)
    assert noun_digest(a) != noun_digest(msgspec.structs.replace(b, ttl="2d"))


def test_defaults_are_written_out_and_other_nouns_are_references() -> None:
    written = definition(ff.FeatureView("v", ff.Entity("e", key="k"), ff.Table("t", "t.csv", time="at"), [ff.count()]))
    assert written["entity"] == {"ref": "entity:e"}
    assert written["ttl"] is None
    assert written["features"] == [{"is": "Aggregate", "fn": "count", "column": None, "over": None, "hop": None,
                                    "ago": None, "q": None, "name": "count", "k": None}]


@pytest.mark.parametrize(("feature", "name"), [
    (ff.mean("dep_delay", over="3h"), "mean_dep_delay_3h"), (ff.count(over="90m"), "count_1h30m"),
    (ff.last("x"), "last_x"), (ff.quantile("x", 0.9, over="1d"), "p90_x_1d"), (ff.last("x", ago="7d"), "last_x_ago_7d"),
    (ff.top("carrier", over="1d"), "top1_carrier_1d"), (ff.top("x", 3), "top3_x"),
    (ff.sum("x", over="1d", name="mine"), "mine")])
def test_features_are_named_by_what_they_are(feature: ff.Aggregate, name: str) -> None:
    assert feature.name == name


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ff.mean("x", over="soon"), "is not a duration"),
    (lambda: ff.mean("x", hop="1m"), "without over="),
    (lambda: ff.mean("x", over="1h", hop="7m"), "not a multiple"),
    (lambda: ff.quantile("x", 90), "q=90 is not a share"),
    (lambda: ff.top("x", 0), "k=0 is not a place"),
    (lambda: ff.top("x", 101), "accepted: whole numbers from 1 to 100"),
    (lambda: ff.top("x", 1.0), "k=1.0 is not a place"),  # type: ignore[arg-type]
    (lambda: ff.top("x", True), "k=True is not a place"),
    (lambda: ff.Aggregate("top", "x"), "k=None is not a place"),
    (lambda: ff.Aggregate("last", "x", k=1), "only top has one"),
    (lambda: ff.check("x > 0", on_fail="quarantin"), "Did you mean 'quarantine'"),
    (lambda: ff.not_null("x", at_most=0.1, on_fail="quarantine"), "no single row can be"),
    (lambda: ff.typed(on_fail="warn"), "cannot be kept"),
    (lambda: ff.Table("t", "t.csv", schema={"a": complex}), "column 'a'"),
    (lambda: ff.Entity("e", key=[]), "must name one or more"),
    (lambda: ff.Gate("acu", at_least=1), "Did you mean 'auc'"),
    (lambda: ff.Gate("auc"), "asks for nothing"),
    (lambda: ff.learner("lightbgm"), "Did you mean 'lightgbm'"),
    (lambda: ff.learner("sklearn"), "needs the object"),
    (lambda: ff.TimeSplit(test="2013-13-01"), "is not a date"),
    (lambda: ff.RandomSplit(1.5), "is not a share"),
    (lambda: ff.FeatureView("v", ff.Entity("e", key="k"), ff.Table("t", "t"), [ff.last("x"), ff.last("x")]), "two features"),
])
def test_a_mistake_is_met_where_it_is_written(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ff.Invalid) as caught:
        make()
    assert message in str(caught.value)


def test_choosing_features_names_the_nearest_when_there_is_none() -> None:
    view = ff.FeatureView("weather", ff.Entity("e", key="k"), ff.Table("t", "t.csv", time="at"), [ff.last("temp")])
    assert view["last_temp"].names == ("last_temp",)
    with pytest.raises(ff.NotFound, match="Did you mean 'last_temp'"):
        view["last_tmp"]


def test_values_in_a_set_check_are_quoted() -> None:
    assert ff.one_of("x", ["it's", "b"]).expression == "x in ('it''s', 'b')"
