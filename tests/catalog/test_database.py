from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from fivefold.catalog import Catalog, open_catalog
from fivefold.catalog.database import lock_number
from fivefold.core.errors import Invalid


def test_an_error_in_a_transaction_undoes_all_of_it(catalog: Catalog) -> None:
    def stopped() -> None:
        with catalog.database.write("x") as conn:
            conn.execute(sa.text("INSERT INTO ff_projects (project, revision) VALUES ('flights', 7)"))
            raise Invalid("stop")

    with pytest.raises(Invalid, match="stop"):
        stopped()
    assert catalog.definitions.revision() == 0


def test_threads_may_share_a_catalog(catalog: Catalog) -> None:
    numbers: list[int] = []

    def register(thread: int) -> None:
        for n in range(10):
            numbers.append(catalog.versions.register("late", f"k{thread}-{n}", artifact="a").number)

    threads = [threading.Thread(target=register, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 61))


def test_sqlite_syncs_every_durable_commit_and_never_waits_as_a_reader(sqlite_url: str) -> None:
    with open_catalog(sqlite_url, "flights") as opened:
        with opened.database.write() as writing:
            assert writing.execute(sa.text("PRAGMA synchronous")).scalar() == 2
            with opened.database.read() as reading:
                assert reading.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
                assert reading.execute(sa.text("SELECT count(*) FROM ff_runs")).scalar() == 0
        with opened.database.write(durable=False) as conn:
            assert conn.execute(sa.text("PRAGMA synchronous")).scalar() == 1
        with opened.database.write() as conn:
            assert conn.execute(sa.text("PRAGMA synchronous")).scalar() == 2


def test_lock_numbers_fit_postgresql_and_tell_names_apart() -> None:
    numbers = {lock_number("p", "versions", name) for name in map(str, range(1000))}
    assert len(numbers) == 1000
    assert all(-2**63 <= number < 2**63 for number in numbers)
    assert lock_number("a", "bc") != lock_number("ab", "c")


WORK = '''
import os, signal, sys
import sqlalchemy as sa
from fivefold.catalog import open_catalog
from fivefold.catalog.definitions import Change
from fivefold.catalog.federated_members import Issued
from fivefold.catalog.federated_rounds import Logged
from fivefold.catalog.journal import Claim
from fivefold.catalog.lineage import Thing
from fivefold.catalog.runs import Metric
from fivefold.catalog.tables import metadata
from fivefold.core.identity import Role, Unauthenticated
url, every = sys.argv[1], int(sys.argv[2])

def work(c):
    if not c.definitions.applied():
        c.definitions.apply([Change("model", "late", {"x": 1}), Change("view", "v", {"y": 2})], expected_revision=0,
                            actor="ada")
    c.definitions.pin("view", "v", {"distance": 20}, actor="ada")
    c.snapshots.record("raw", "d", [1, 2])
    c.journal.begin("w", "train")
    claim = c.journal.claim("w", "fit", "me", 10**12)
    if isinstance(claim, Claim):
        c.runs.create("r", "train", "late", params={"a": "1"}, tags={"b": "2"})
        c.runs.log("r", metrics=[Metric("auc", 0.5, n) for n in range(5)], tags={"b": "3"}, key="once")
        c.versions.register("late", "k", artifact="a", run_id="r")
        c.aliases.move("late", "champion", 1, expected=None, actor="ada", key="first")
        c.lineage.link([(Thing("run", "r"), Thing("version", "late/1"), "output")])
        c.runs.finish("r")
        c.journal.finish("w", "fit", claim.fence, {"version": 1})
    c.journal.end("w")
    c.leases.acquire("stream:a", "me", 10**12)
    if not c.users.all():
        c.users.add("ann", "hash", actor="ada")
    if not c.tokens.all():
        c.tokens.add("t", "ci", "digest", actor="ada")
    c.grants.join("team", "ann", actor="ada")
    c.grants.grant("group:team", Role.EDITOR, actor="ada")
    try:
        c.members.invited("i", lambda kept: kept == "digest")
    except Unauthenticated:
        c.members.invite("site", "i", "digest", expires_at=10**15, actor="ada")
    c.members.redeem("i", "request", "key", lambda: Issued("1", b"der", 10**15))
    if not c.rounds.all("sites"):
        c.rounds.open("sites", 1, b"offer", [["site"]], {}, 10**15)
    if c.rounds.get("sites", 1).status == "open":
        c.rounds.take("sites", 1, Logged(0, 1, "site", "digest", b"body"))
        c.rounds.end_step("sites", 1, 0, 1, "all")
        c.rounds.finish("sites", 1, {}, [["site"]], {}, [1])
    c.releases.spend("rows", "1", "a sum", [0.5], epsilon_of=lambda curve, delta: sum(curve), budget=1.0, delta=1e-5)

def child(project, last):
    seen = 0
    def count(*_):
        nonlocal seen
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
    with open_catalog(url, project, clock=lambda: 7) as c:
        sa.event.listen(c.database.engine, "before_cursor_execute", count)
        sa.event.listen(c.database.engine, "commit", count)
        work(c)
    os._exit(0)

def killed(project, last):
    pid = os.fork()
    if not pid:
        try:
            child(project, last)
        except BaseException as e:
            print("failed:", repr(e), flush=True)
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, (project, last)
    return os.WIFSIGNALED(status)

def done(project):
    # the fence and the ids of the log tell how often it was tried, all else must be equal
    left_out = {"project", "fence"}
    with open_catalog(url, project, clock=lambda: 7) as c:
        work(c)
        with c.database.read() as conn:
            return {t.name: sorted(repr([row[col.name] for col in t.columns if col.name not in left_out
                                         and (t.name, col.name) != ("ff_audit", "id")])
                for row in conn.execute(sa.select(t).where(t.c.project == project)).mappings())
                for t in metadata.sorted_tables}

n = 1
while killed(f"p{n}", n):
    n += every
whole = done("whole")
assert all(whole.values()), whole
for last in range(1, n + 1, every):
    assert done(f"p{last}") == whole, last
print(n)
'''


def test_killed_at_any_statement_and_run_again_is_as_never_killed(catalog_url: str, every: int) -> None:
    open_catalog(catalog_url, "first").close()
    done = subprocess.run([sys.executable, "-c", WORK, catalog_url, str(every)], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert int(done.stdout) > 50
