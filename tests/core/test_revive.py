"""A declaration survives its own canonical JSON: what is revived has the digest of what it was."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fivefold as ff
from fivefold.core.config import settings as read_settings
from fivefold.core.errors import Unsupported
from fivefold.core.features import Udf
from fivefold.core.noun import Noun, definition, noun_digest
from fivefold.core.project import Project, collect
from fivefold.core.revive import NOUNS, revive
from fivefold.workspace.project_file import load_project

TEMPLATES = Path(str(resources.files("fivefold.demo") / "templates"))

EVERYTHING = '''
import fivefold as ff

EDGE = 0.5

def shape(x):
    return x * EDGE

class Mean:
    def __init__(self, alpha=1.0):
        self.alpha = alpha
    def get_params(self, deep=True):
        return {"alpha": self.alpha}

odd = ff.Table("odd", "odd.csv", time="at", schema={"ref": str, "is": "timestamp", "at": "timestamp", "kind": float})
raw = ff.Table("raw", "s3://bucket/raw/*.parquet", time="at", id="n", seq="m", delay="90s", nulls=("", "NA"),
               format="parquet", partition=["day", "hour"], schema={"n": int, "who": str, "at": "timestamp"},
               checks=[ff.check("n > 0", on_fail="warn"), ff.between("m", -1.5, 2.0), ff.unique("n"), ff.typed(),
                       ff.not_null("n", at_most=0.25), ff.fresh("1d"), ff.row_count(1, 9), ff.matches("who", "^a'b$"),
                       ff.one_of("n", [1, 2])])
clean = ff.View("clean", "select * from raw", time="at", id="n", checks=[ff.one_of("who", ["x", "it's"])])
live = ff.Stream("live", schema={"n": int, "who": str}, time="at", history=clean, delay="5m")
docs = ff.Documents("docs", "**/*.md")
who = ff.Entity("who", key="who")
both = ff.Entity("both", key=["who", "n"])
one = ff.FeatureView("one", who, live, [ff.count(over="1h", hop="5m"), ff.last("n", ago="7d"), ff.quantile("n", 0.9)],
                     ttl="36h", delay="1h30m")
two = ff.FeatureView("two", both, clean, [ff.std("n", over="90m", name="spread"), ff.distinct("n"), ff.top("who", 2, over="1d")])
shaped = ff.Udf("shaped", shape, ["x"], float)
grouped = ff.Model("grouped", ff.Target(clean, "n > 1", known="at", group="who"), split=ff.GroupSplit("who", 0.3, 7),
    features=[one, two["spread"], ff.Request("x", float), ff.Derived("y", "x + spread"), shaped],
    learner=ff.learner("lightgbm", num_leaves=31, lr=0.1, names=["a", "b"], nested={"ref": "not:one", "is": "Check"}),
    metrics=["auc"], gates=[ff.Gate("auc", at_least=0.5, segment="who", min_rows=2),
                            ff.Gate("auc", beats="champion", by=0.25)],
    tune=ff.Tune({"num_leaves": (3, 9), "eta": (0.1, 0.9, "log"), "ref": ["p:q", "r:s"], "is": ["Check"]}, trials=2),
    tolerance=0.001, trust_pickle=True, seed=3, threads=1)
own = ff.Model("own", ff.Target(raw, "n"), [one], ff.learner("object", Mean(2.0)), ff.TimeSplit("2020-01-01", "2021-01-01"))
endpoint = ff.Endpoint("endpoint", grouped)
job = ff.BatchJob("job", own, over=clean, into=ff.Table("out", "out/x", partition="day"))
sites = ff.Federation("sites", own, ff.learner("logistic", l2=0.5), split="who", rounds=3, strategy=ff.FedAvg(momentum=0.5),
    privacy=[ff.SecureSum(4), ff.DP(2, 1e-6, unit="client", clip=0.5)], robust=ff.Krum(1), public=[clean],
    levels={"x": ["a", "b"]}, cohort=20, round_bytes="1MB")
'''


def load(folder: Path) -> Project:
    return load_project(folder, read_settings((folder / "fivefold.toml").read_text(), "fivefold.toml"))


def functions(project: Project) -> dict[str, Any]:
    return {n.name: n.function for n in project.of(Udf.kind) if isinstance(n, Udf)}


def stored(nouns: Mapping[str, Noun]) -> Any:
    """Definitions as they come back from a catalog."""
    return msgspec.json.decode(msgspec.json.encode({ref: definition(noun) for ref, noun in nouns.items()}))


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    (tmp_path / "fivefold.toml").write_text('project = "everything"')
    (tmp_path / "project.py").write_text(EVERYTHING)
    return tmp_path


def assert_revived(project: Project) -> None:
    again = revive(stored(project.nouns), functions(project))
    assert {ref: noun_digest(noun) for ref, noun in again.items()} == {
        ref: noun_digest(noun) for ref, noun in project.nouns.items()}
    assert Project(project.name, again).closure_digests == project.closure_digests
    assert stored(again) == stored(project.nouns)


@pytest.mark.parametrize("template", ["flights", "blank"])
def test_every_noun_of_a_template_has_its_digest_again(template: str) -> None:
    assert_revived(load(TEMPLATES / template))


def test_every_kind_of_noun_with_every_part_has_its_digest_again(everything: Path) -> None:
    project = load(everything)
    assert {noun.kind for noun in project.nouns.values()} == set(NOUNS)
    assert_revived(project)


WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
COLUMNS = st.dictionaries(st.one_of(WORDS, st.sampled_from(["ref", "is", "kind", "name"])),
                          st.sampled_from([int, float, str, bool, "timestamp"]), min_size=1, max_size=5)
SPANS = st.one_of(st.none(), st.sampled_from(["90s", "1h30m", "7d", "60m", "1w"]))


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS, COLUMNS, SPANS, SPANS, SPANS, st.dictionaries(WORDS, st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans(), st.none(),
    st.lists(st.text(max_size=3), max_size=2)), max_size=4), st.text(max_size=20))
def test_whatever_is_declared_has_its_digest_again(
    table: str, view: str, columns: dict[str, Any], over: str | None, ago: str | None, ttl: str | None,
    params: dict[str, Any], label: str
) -> None:
    source = ff.Table(table, label, time="at", schema=columns, checks=[ff.check(label, name=label)])
    first = next(iter(columns))
    features = ff.FeatureView(view, ff.Entity("thing", key=list(columns)), source, [
        ff.last(first, over=over, ago=ago), ff.count(over=over)], ttl=ttl)
    model = ff.Model("m", ff.Target(source, label), [features], ff.Learner("lightgbm", params), ff.RandomSplit(0.25))
    assert_revived(collect("p", [source, features, model]))


def test_a_definition_from_before_a_field_existed_gets_its_default() -> None:
    view = ff.FeatureView("v", ff.Entity("e", key="k"), ff.Table("t", "t.csv", time="at"), [ff.mean("x", over="1h")])
    before = stored(collect("p", [view]).nouns)
    del before["feature_view:v"]["features"][0]["k"]
    again = revive(before, {})["feature_view:v"]
    assert noun_digest(again) == noun_digest(view)


def test_changed_code_is_named_and_never_run(everything: Path) -> None:
    before = stored(load(everything).nouns)
    (everything / "project.py").write_text(EVERYTHING.replace("EDGE = 0.5", "EDGE = 0.6"))
    with pytest.raises(Unsupported, match=r"the version uses udf:shaped, whose code has changed since\. Put the code"):
        revive(before, functions(load(everything)))


def test_code_that_is_gone_is_named(everything: Path) -> None:
    with pytest.raises(Unsupported, match="udf:shaped, whose code is gone from the project file"):
        revive(stored(load(everything).nouns), {})


def test_code_laid_out_another_way_is_the_same_code(everything: Path) -> None:
    before = stored(load(everything).nouns)
    (everything / "project.py").write_text(EVERYTHING.replace("    return x * EDGE", '    """Why."""\n    return x*EDGE'))
    revive(before, functions(load(everything)))
