from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from fivefold.catalog import Catalog, open_catalog
from fivefold.catalog.definitions import Change
from fivefold.catalog.federated_members import Issued
from fivefold.catalog.federated_rounds import Logged
from fivefold.catalog.lineage import Thing
from fivefold.catalog.runs import Metric
from fivefold.catalog.tables import metadata
from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.identity import Role


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "nonsense:secret", ""])
def test_another_url_says_what_is_accepted_and_shows_no_password(url: str) -> None:
    with pytest.raises(Invalid, match=r"sqlite:///path/catalog\.db") as raised:
        open_catalog(url, "flights")
    assert "secret" not in str(raised.value)


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_is_not_shown() -> None:
    with pytest.raises(Unavailable, match="did not answer") as raised:
        open_catalog("postgresql://user:secret@127.0.0.1:1/none", "flights")
    assert "secret" not in str(raised.value)


def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(Unavailable, match="taken"):
        open_catalog(f"sqlite:///{tmp_path}/taken/catalog.db", "flights")


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("x" * 5000)
    with pytest.raises(Unavailable, match="not a database"):
        open_catalog(f"sqlite:///{tmp_path}/catalog.db", "flights")


def test_what_was_written_is_there_after_opening_again(catalog_url: str) -> None:
    with open_catalog(catalog_url, "flights") as first:
        first.versions.register("late", "k", artifact="a")
    with open_catalog(catalog_url, "flights") as second:
        assert second.versions.get("late", 1).key == "k"


def test_a_catalog_that_is_dropped_open_warns(sqlite_url: str) -> None:
    held = [open_catalog(sqlite_url, "flights")]
    with pytest.warns(ResourceWarning, match="flights"):
        held.clear()


def test_two_projects_in_one_database_see_nothing_of_each_other(catalog: Catalog, other_project: Catalog) -> None:
    empty = _seen(other_project)
    _fill(catalog)
    assert _seen(other_project) == empty
    _fill(other_project)
    assert _seen(other_project) == _seen(catalog)
    with catalog.database.read() as conn:
        for table in metadata.sorted_tables:
            counts = dict(conn.execute(sa.select(table.c.project, sa.func.count()).group_by(table.c.project)).all())
            assert counts["flights"] == counts["other"] > 0, table.name


def test_processes_may_open_an_empty_database_at_once(
        catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    code = "with open_catalog(url, 'flights') as c: print(c.versions.register('late', 'k', artifact='a').number)"
    assert together(code, catalog_url, 5) == ["1"] * 5


def test_a_full_disk_is_unavailable_and_what_was_there_stays(sqlite_url: str) -> None:
    with open_catalog(sqlite_url, "flights") as opened:
        opened.snapshots.record("raw", "d1", {"files": []})
    code = f"""
import resource, signal
from fivefold.catalog import open_catalog
from fivefold.core.errors import Unavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_catalog({sqlite_url!r}, "flights") as c:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        c.snapshots.record("raw", "d2", ["x" * 2_000_000])
    except Unavailable as said:
        print("unavailable")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True
                          ).stdout == "unavailable\n"
    with open_catalog(sqlite_url, "flights") as opened:
        assert [s.digest for s in opened.snapshots.history("raw")] == ["d1"]


def _fill(catalog: Catalog) -> None:
    catalog.definitions.apply([Change("model", "late", {"x": 1})], expected_revision=0, actor="ada")
    catalog.snapshots.record("raw", "d", [1])
    catalog.runs.create("r", "train", "late", tags={"team": "a"})
    catalog.runs.log("r", metrics=[Metric("auc", 0.5)], params={"p": "1"}, key="k")
    catalog.versions.register("late", "k", artifact="a", run_id="r")
    catalog.aliases.move("late", "champion", 1, expected=None, actor="ada")
    catalog.lineage.link([(Thing("run", "r"), Thing("version", "late/1"), "output")])
    catalog.journal.begin("w", "train")
    catalog.journal.claim("w", "fit", "me", 1_000)
    catalog.leases.acquire("stream:a", "me", 1_000)
    catalog.users.add("ann", "hash", actor="ada")
    catalog.tokens.add("t", "ci", "digest", actor="ada")
    catalog.grants.join("team", "ann", actor="ada")
    catalog.grants.grant("group:team", Role.EDITOR, actor="ada")
    catalog.members.invite("site", "i", "digest", expires_at=10**18, actor="ada")
    catalog.members.redeem("i", "request", "key", lambda: Issued("1", b"der", 10**18))
    catalog.rounds.open("sites", 1, b"offer", [["site"]], {}, 10**18)
    catalog.rounds.take("sites", 1, Logged(0, 1, "site", "digest", b"body"))
    catalog.releases.spend("rows", "1", "a sum", [0.5], epsilon_of=lambda c, d: sum(c), budget=1.0, delta=1e-5)


def _seen(catalog: Catalog) -> list[object]:
    return [catalog.definitions.applied(), catalog.definitions.revision(), catalog.snapshots.latest("raw"),
            catalog.search.runs(), catalog.search.history("r", "auc"), catalog.versions.list(),
            catalog.versions.models(), catalog.aliases.all(), catalog.aliases.history("late"),
            catalog.lineage.upstream(Thing("version", "late/1")), catalog.journal.works(), catalog.journal.steps("w"),
            catalog.leases.held(""), catalog.members.all(), catalog.rounds.all("sites"), catalog.rounds.log("sites", 1),
            catalog.releases.of("rows"), catalog.releases.ledgers(), catalog.users.all(), catalog.tokens.all(), catalog.tokens.find("t"),
            catalog.users.find("ann"), catalog.grants.access(), catalog.grants.groups(), catalog.grants.all(),
            [(e.actor, e.action, e.subject) for e in catalog.audit.log()]]
