"""Values in one table of a PostgreSQL database, `ff_online`: `postgresql://host/db`."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from fivefold.core.errors import Conflict, FivefoldError, Invalid, Unavailable
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.spaces import after_prefix, changed, checked, empty_key, key_too_long, split

T = TypeVar("T")

PAGE, PAGE_BYTES = 1000, 4 << 20
CHUNK_BYTES = 16 << 20
LONGEST_KEY = 2000
MANY = 10_000
_REFUSED = re.compile(
    r"FATAL: .*(authentication failed|does not exist|no pg_hba\.conf entry|permission denied)|no password supplied"
)

# the names of spaces are compared by their bytes, whatever the database's language
_TABLE = """
create table if not exists ff_online (
  space text collate "C" not null, key bytea not null, value bytea not null, primary key (space, key)
)"""
# a look-up for each pair, whatever the planner believes about the table's size
_GET = """
select (select value from ff_online t where t.space = asked.space and t.key = asked.key)
from unnest(%b::text[], %b::bytea[]) with ordinality as asked (space, key, place) order by place"""
_PUT = """
insert into ff_online (space, key, value) select %b::text, * from unnest(%b::bytea[], %b::bytea[])
on conflict (space, key) do update set value = excluded.value"""
_REMOVE = "delete from ff_online where space = %b and key = any(%b::bytea[])"
# a page is in memory whole, so it ends where its values come to too many bytes; their sizes are known unread
_SCAN = f"""
select key, value from (
  select key, value, sum(octet_length(value)) over (order by key) - octet_length(value) as before from (
    select key, value from ff_online
    where space = %b and key >= %b and key > %b and (%b::bytea is null or key < %b) order by key limit {PAGE}
  ) as page
) as summed where before <= {PAGE_BYTES} order by key"""
# from name to name through the index: a plain `distinct` would read every row
_SPACES = """
with recursive names as (
  (select space from ff_online order by space limit 1)
  union all
  select (select space from ff_online t where t.space > names.space order by space limit 1)
  from names where space is not null
)
select space from names where space is not null"""


class Postgres:
    """Fits OnlineStore. The table is made on first use, in the first schema of the search path.

    The mark of a space is its row with the empty key. Those who write to a partition take turns by an advisory lock.
    `password` need not be in the URL; libpq also finds it in PGPASSWORD or a password file.
    """

    def __init__(self, url: str, *, password: str | None = None, timeout: int = 10) -> None:
        try:
            more = {"password": password} if password is not None else {}
            self._dsn = make_conninfo(url, connect_timeout=timeout, application_name="fivefold", **more)
            parts = psycopg.conninfo.conninfo_to_dict(self._dsn)
        except psycopg.Error:
            # what it says may hold the password
            raise Invalid(
                "the postgresql URL of the online store cannot be read.", hint="Write postgresql://user@host:5432/db."
            ) from None
        self._shown = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"
        self._idle: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self._closed = self._made = False

    def __repr__(self) -> str:
        return f"Postgres({self._shown!r})"

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        for space, _ in pairs:
            split(space)
        asked = ([space for space, _ in pairs], [key for _, key in pairs])
        if not pairs:
            return []
        return [value for (value,) in self._do(lambda c: c.execute(_GET, asked, binary=True).fetchall())]

    def replace(self, space: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        _, partition = split(space)
        made = dict(items)
        if MARK in made:
            raise empty_key(space)
        _check_sizes(space, made)

        def write(c: psycopg.Connection[Any]) -> int:
            c.execute("delete from ff_online where space = %s", (space,))
            copying = "copy ff_online (space, key, value) from stdin (format binary)"
            with c.cursor() as cursor, cursor.copy(copying) as copy:
                copy.set_types(["text", "bytea", "bytea"])
                copy.write_row((space, MARK, mark))
                for key, value in made.items():
                    copy.write_row((space, key, value))
            if len(made) > MANY:
                # the planner knows nothing of them before autovacuum comes by, and would sort a space for each page
                c.execute("analyze ff_online")
            return len(made)

        return self._write(partition, write)

    def commit(self, writes: Sequence[Write]) -> None:
        partition = checked(writes)
        made = [(write, dict(write.items)) for write in writes]
        for write, items in made:
            _check_sizes(write.space, items)

        def change(c: psycopg.Connection[Any]) -> None:
            marks = ([write.space for write in writes], [MARK] * len(writes))
            for write, (mark,) in zip(writes, c.execute(_GET, marks, binary=True), strict=True):
                if mark != write.expected:
                    raise changed(write.space)
            for write, items in made:
                removed = [key for key, value in items.items() if value is None]
                if removed:
                    c.execute(_REMOVE, (write.space, removed))
                put = {MARK: write.mark, **{key: value for key, value in items.items() if value is not None}}
                for keys, values in _chunks(put.items()):
                    c.execute(_PUT, (write.space, keys, values))

        if made:
            self._write(partition, change)

    def scan(self, space: str, after: bytes = MARK, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        split(space)
        end = after_prefix(prefix)

        def read(c: psycopg.Connection[Any]) -> list[tuple[bytes, bytes]]:
            return c.execute(_SCAN, (space, prefix, after, end, end), binary=True).fetchall()

        while page := self._do(read):
            yield from page
            after = page[-1][0]

    def spaces(self) -> list[str]:
        return sorted(space for (space,) in self._do(lambda c: c.execute(_SPACES).fetchall()))

    def drop(self, space: str) -> None:
        _, partition = split(space)
        self._write(partition, lambda c: c.execute("delete from ff_online where space = %s", (space,)))

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _write(self, partition: str, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        def write(c: psycopg.Connection[Any]) -> T:
            # a statement of its own: what the next ones see begins after the lock is held
            c.execute("begin isolation level read committed")
            c.execute("select pg_advisory_xact_lock(%s)", (_lock_of(partition),))
            return work(c)

        return self._do(write, ends="commit")

    def _do(self, work: Callable[[psycopg.Connection[Any]], T], *, ends: str = "") -> T:
        """Do it on a connection of our own. Once more on a new one when it was cut, unless that was at the end: then
        nobody knows whether it was done."""
        for last in (False, True):
            connection = self._take()
            ending = False
            try:
                done = work(connection)
                ending = True
                if ends:
                    connection.execute(ends.encode())
            except psycopg.Error as e:
                cut = connection.broken or connection.closed
                connection.close()
                if cut and not last and not ending:
                    self._forget()
                    continue
                raise self._error(e, cut=bool(cut), open_end=ending) from None
            except FivefoldError:
                # a refusal of ours, with a sound connection
                self._give_back_undone(connection)
                raise
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            return done
        raise AssertionError("the second time returns or raises")

    def _take(self) -> psycopg.Connection[Any]:
        with self._lock:
            if self._closed:
                raise Unavailable(f"the online store {self._shown} was closed.")
            if self._idle:
                return self._idle.pop()
        try:
            connection = psycopg.connect(self._dsn, autocommit=True)
        except psycopg.Error as e:
            raise self._error(e, cut=True) from None
        try:
            self._make(connection)
        except psycopg.Error as e:
            connection.close()
            raise self._error(e, cut=bool(connection.broken)) from None
        return connection

    def _make(self, connection: psycopg.Connection[Any]) -> None:
        """The table; only asked for where it is there, which needs no right to make one."""
        if self._made:
            return
        if connection.execute("select to_regclass('ff_online')").fetchone() == (None,):
            # `if not exists` alone fails where two make it at once
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(%s)", (_lock_of("/table"),))
                connection.execute(_TABLE)
        self._made = True

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _give_back_undone(self, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("rollback")
        except psycopg.Error:
            connection.close()
        else:
            self._give_back(connection)

    def _forget(self) -> None:
        """The connections that were idle when one was cut are most likely cut as well."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _error(self, error: psycopg.Error, *, cut: bool, open_end: bool = False) -> FivefoldError:
        state = error.sqlstate or ""
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        # libpq gives no code for a connection that was refused; other words than these leave it Unavailable
        if not state and _REFUSED.search(str(error)):
            return Invalid(
                f"{self._shown} refuses the connection: {said}.", hint="Check the user, the password and the database."
            )
        if state in ("42501", "3F000"):
            return Invalid(
                f"{self._shown} cannot be used: {said}.",
                hint="The user needs a schema, and there the right to make, read and write ff_online.",
            )
        if state.startswith("40"):
            return Conflict(f"{self._shown} undid the changes: {said}.", hint="Try again; nothing was changed.")
        if open_end:
            return Unavailable(
                f"{self._shown} went away at the end of a commit: {said}.",
                hint="It may have been made: read the mark before you try again.",
            )
        if cut:
            return Unavailable(
                f"{self._shown} did not answer: {said}.",
                hint="Check that it runs, then try again; nothing was changed.",
            )
        return Unavailable(f"{self._shown} failed: {said}.", hint="Nothing was changed.")


def _lock_of(partition: str) -> int:
    """The number of the lock of a partition: other users of the database take locks by small numbers or by digests."""
    named = hashlib.sha256(f"fivefold online {partition}".encode()).digest()
    return int.from_bytes(named[:8], "big", signed=True)


def _check_sizes(space: str, keys: Iterable[bytes]) -> None:
    largest = max(map(len, keys), default=0)
    if largest > LONGEST_KEY:
        raise key_too_long(space, largest, LONGEST_KEY)


def _chunks(items: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    keys, values, size = list[bytes](), list[bytes](), 0
    for key, value in items:
        keys.append(key)
        values.append(value)
        size += len(key) + len(value)
        if size > CHUNK_BYTES:
            yield keys, values
            keys, values, size = [], [], 0
    if keys:
        yield keys, values


provides = {OnlineStore: Postgres}
