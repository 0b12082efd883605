from __future__ import annotations

from typing import Any

import pytest

import fivefold as ff
from fivefold.lifecycle import release


def versions(shop, *edits: tuple[str, str]) -> list[Any]:  # type: ignore[no-untyped-def]
    shop.apply()
    made = [shop.train().version]
    for old, new in edits:
        shop.edit(old, new)
        shop.apply()
        made.append(shop.train().version)
    return made


WEAKER = ("[spending, ff.Request", "[spending[\"count_30d\"], ff.Request"), ('ff.Request("amount", float)]', 'ff.Derived("one", "1.0")]')


def test_the_champion_moves_only_through_its_gates(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('ff.Gate("auc", at_least=0.6)', 'ff.Gate("auc", at_least=0.99)')
    (version,) = versions(shop)
    with shop.open() as w:
        made = release.promote(w, version)
        assert not made.champion
        assert "not at least 0.99" in made.reason
        assert release.history(w, "returned") == ()
        assert w.catalog.runs.get(version.run_id).tags["gates"] == "failed"


def test_a_version_must_beat_the_champion_on_the_same_rows(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('ff.Gate("auc", at_least=0.6)', 'ff.Gate("logloss", beats="champion")')
    one, two = versions(shop, ('[spending, ff.Request("amount", float)]', '[spending["count_30d"]]'))
    with shop.open() as w:
        assert release.promote(w, one).champion
        refused = release.promote(w, two)
        (decision,) = refused.verdict.decisions
        assert not refused.champion
        assert decision.against == 1
        assert decision.value < 0
        assert w.catalog.aliases.current("returned", "champion") == 1


def test_a_comparison_on_other_rows_is_refused(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('ff.Gate("auc", at_least=0.6)', 'ff.Gate("logloss", beats="champion")')
    one, two = versions(shop, ("ff.RandomSplit(0.2)", "ff.RandomSplit(0.2, seed=7)"))
    with shop.open() as w:
        release.promote(w, one)
        with pytest.raises(ff.Invalid, match="share only"):
            release.promote(w, two)


def test_rollback_twice_goes_back_two_releases(shop) -> None:  # type: ignore[no-untyped-def]
    made = versions(shop, ("ff.RandomSplit(0.2)", "ff.RandomSplit(0.21)"), ("ff.RandomSplit(0.21)", "ff.RandomSplit(0.22)"))
    with shop.open() as w:
        for version in made:
            assert release.promote(w, version).champion
        assert release.rollback(w, "returned").version == 2
        assert release.rollback(w, "returned").version == 1
        with pytest.raises(ff.NotFound, match="its first release"):
            release.rollback(w, "returned")
        # promoting again after a rollback is a new release
        assert release.promote(w, made[2]).champion
        assert release.rollback(w, "returned").version == 1


def test_history_answers_what_served_when_and_restore_brings_it_back(shop) -> None:  # type: ignore[no-untyped-def]
    one, two = versions(shop, ("ff.RandomSplit(0.2)", "ff.RandomSplit(0.21)"))
    with shop.open() as w:
        release.promote(w, one)
        between = shop.tick()
        release.promote(w, two)
        changes = release.history(w, "returned")
        assert [(c.version, c.actor) for c in changes] == [(1, "ann"), (2, "ann")]
        assert "at least 0.6" in changes[0].reason
        decision: Any = changes[0].decision
        assert decision["decisions"][0]["passed"]
        assert release.restore(w, "returned", between).version == 1
        assert release.restore(w, "returned", between) is None
        with pytest.raises(ff.NotFound, match="had no champion at"):
            release.restore(w, "returned", 1)


def test_gates_that_are_not_applied_decide_nothing(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit("at_least=0.6", "at_least=0.99")
    (version,) = versions(shop)
    shop.edit("at_least=0.99", "at_least=0.5")
    with shop.open() as w, pytest.raises(ff.Conflict, match="not applied: model:returned"):
        release.promote(w, version)


def test_a_gate_is_judged_again_without_training_again(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit("at_least=0.6", "at_least=0.99")
    (version,) = versions(shop)
    shop.edit("at_least=0.99", "at_least=0.5")
    (rebuild,) = [r for r in shop.plan().rebuilds if r.ref == "model:returned"]
    assert (rebuild.action, rebuild.command) == ("judge the newest version again", "fivefold promote returned")
    shop.apply()
    assert not shop.train().new
    with shop.open() as w:
        assert release.promote(w, version).champion


def test_promoting_the_champion_again_does_nothing(shop) -> None:  # type: ignore[no-untyped-def]
    (one,) = versions(shop)
    with shop.open() as w:
        release.promote(w, one)
        assert release.promote(w, one).reason == "it is champion already"
        assert len(release.history(w, "returned")) == 1


def test_environments_share_only_what_is_promoted(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit("project =", '[env.prod]\nmemory = "1GB"\n\n[default]\nthreads = 1\n# ', "fivefold.toml")
    text = (shop.root / "fivefold.toml").read_text()
    (shop.root / "fivefold.toml").write_text('project = "shop"\n' + text)
    (version,) = versions(shop)
    with shop.open() as dev, shop.open("prod") as prod:
        assert prod.catalog.versions.list("returned") == ()
        assert prod.catalog.definitions.revision() == 0
        carried = release.carry_over(dev, prod, version)
        assert release.promote(prod, carried).champion
        assert (carried.key, carried.artifact, carried.number) == (version.key, version.artifact, 1)
        assert dev.catalog.aliases.current("returned", "champion") is None
        from fivefold.workspace.served import champion

        assert champion(prod, "returned").loaded.about.name == "returned"
    with pytest.raises(ff.NotFound, match="Did you mean 'prod'"), shop.open("prd"):
        pass


@pytest.mark.parametrize(("text", "message"), [("nothing@1", "no model 'nothing'"), ("returned@7", "7"), ("@1", "does not name"),
                                               ("returned@champion", "points to no version")])
def test_a_version_that_is_not_there_is_named(shop, text, message) -> None:  # type: ignore[no-untyped-def]
    versions(shop)
    with shop.open() as w, pytest.raises(ff.FivefoldError, match=message):
        release.find_version(w, text)
