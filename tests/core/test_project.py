import pytest

import fivefold as ff
from fivefold.core.errors import Several
from fivefold.core.project import collect

T = ff.Table("t", "t.csv", time="at")
E = ff.Entity("e", key="k")


def test_what_is_pointed_at_belongs_to_the_project() -> None:
    view = ff.FeatureView("v", E, T, [ff.last("x")])
    project = collect("p", [ff.Model("m", ff.Target(T, "y"), [view], ff.learner("logistic"), ff.RandomSplit())])
    assert set(project.nouns) == {"table:t", "entity:e", "feature_view:v", "model:m"}
    assert list(project.nouns).index("table:t") < list(project.nouns).index("feature_view:v")


def test_every_clash_unknown_table_and_cycle_is_reported_at_once() -> None:
    with pytest.raises(Several) as caught:
        collect("p", [ff.Table("a", "1.csv"), ff.Table("a", "2.csv"), ff.View("x", "select * from y"),
                      ff.View("y", "select * from x"), ff.View("z", "select * from ordrs"), ff.Table("orders", "o.csv"),
                      ff.Table("w", "w.csv"), ff.View("w", "select 1")])
    text = str(caught.value)
    assert "two different declarations are called table:a" in text
    assert "Did you mean 'orders'" in text
    assert "a cycle: view:x -> view:y -> view:x" in text
    assert "share a name" in text
    assert text.startswith("4 errors")


def test_a_change_upstream_changes_the_meaning_but_not_the_definition() -> None:
    def project(url: str):  # type: ignore[no-untyped-def]
        t = ff.Table("t", url, time="at")
        return collect("p", [ff.View("v", "select * from t"), t, ff.Table("other", "o.csv")])
    a, b = project("1.csv"), project("2.csv")
    assert a.closure_digests["view:v"] != b.closure_digests["view:v"]
    assert a.closure_digests["table:other"] == b.closure_digests["table:other"]
    assert a.downstream(["table:t"]) == ["view:v"]
    assert a.closure(["view:v"]) == ["table:t", "view:v"]


@pytest.mark.parametrize(("sql", "message"), [
    ("select from where", "does not parse"), ("delete from t", "must be one SELECT"), ("select 1; select 2", "one SELECT"),
    ("select * from read_csv('secret.csv')", "reads from outside the project")])
def test_a_view_is_one_select_over_the_project(sql: str, message: str) -> None:
    with pytest.raises(Several, match=message):
        collect("p", [ff.View("v", sql), T])
