"""One database, one project: short read and write transactions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Unavailable, missing_extra

BUSY_SECONDS = 30


def now() -> int:
    """The machine's clock: microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Database:
    """An engine bound to a project and a clock."""

    def __init__(self, engine: sa.Engine, project: str, clock: Callable[[], int]) -> None:
        self.engine = engine
        self.project = project
        self.clock = clock
        self.lite = engine.dialect.name == "sqlite"
        self._open = True

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the database."""
        with translated(self.engine), self.engine.connect() as conn, conn.begin():
            if self.lite:
                begin_sqlite(conn, "BEGIN")
            yield conn

    @contextmanager
    def write(self, *lock: object, durable: bool = True) -> Iterator[sa.Connection]:
        """A transaction whose writers take turns, per project and `lock`.

        SQLite takes turns for the whole file (BEGIN IMMEDIATE), PostgreSQL by an advisory lock held until the commit.
        Without `durable` a power cut may undo it, though never a later durable one: good for leases and claims only.
        """
        with translated(self.engine), self.engine.connect() as conn, conn.begin():
            if self.lite:
                _fsync(conn, durable)
                begin_sqlite(conn, "BEGIN IMMEDIATE")
            elif not durable:
                conn.exec_driver_sql("SET LOCAL synchronous_commit = off")
            if lock and not self.lite:
                conn.execute(sa.select(sa.func.pg_advisory_xact_lock(lock_number(self.project, *lock))))
            yield conn

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing`."""
        return sqlite.insert(table) if self.lite else postgresql.insert(table)

    def close(self) -> None:
        self._open = False
        self.engine.dispose()

    def __del__(self) -> None:
        if getattr(self, "_open", False):
            warnings.warn(
                f"the catalog of project {self.project!r} was dropped without being closed",
                ResourceWarning,
                stacklevel=2,
            )
            self.close()


def connect(url: str) -> sa.Engine:
    """An engine for `sqlite:///path/catalog.db` or `postgresql://user@host/name`.

    Raises Invalid for any other URL and Unsupported when the driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError:
        raise Invalid("the catalog's URL cannot be read.", hint=_ACCEPTED) from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise Invalid("a catalog in memory would be lost and cannot be shared between processes.", hint=_ACCEPTED)
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    if parsed.drivername == "postgresql":
        try:
            import psycopg
        except ModuleNotFoundError:
            raise missing_extra("psycopg", "postgres", "a catalog in PostgreSQL") from None
        del psycopg
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args={"connect_timeout": BUSY_SECONDS},
        )
    raise Invalid(f"no catalog can be kept in {parsed.drivername!r}.", hint=_ACCEPTED)


_ACCEPTED = "Write sqlite:///path/catalog.db or postgresql://user@host/database."


def lock_number(*words: object) -> int:
    """A signed 64-bit lock for PostgreSQL. Two names with one number only wait for each other without need."""
    joined = "\x00".join(map(str, words)).encode()
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], signed=True)


@contextmanager
def translated(engine: sa.Engine) -> Iterator[None]:
    """Turns the driver's errors into ours, without SQL, values or passwords in the message."""
    try:
        yield
    except FivefoldError:
        raise
    except IntegrityError as wrong:
        if "foreign key" in str(wrong.orig).lower():
            raise NotFound(f"what this refers to does not exist: {_first_line(wrong)}.") from wrong
        raise Conflict(f"somebody else wrote it first: {_first_line(wrong)}.", hint="Read again.") from wrong
    except (DataError, ProgrammingError):
        raise  # ours to mend, not the caller's
    except (DatabaseError, PoolTimeout, sqlite3.OperationalError) as wrong:
        where = engine.url.render_as_string(hide_password=True)
        raise Unavailable(
            f"the catalog {where} did not answer: {_first_line(wrong)}.",
            hint="Check that it runs, is sound, not full and not locked, then try again.",
        ) from wrong


def _first_line(wrong: Exception) -> str:
    cause = wrong.orig if isinstance(wrong, DBAPIError) else wrong
    return (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")


def _prepare_sqlite(raw: sqlite3.Connection, _record: object) -> None:
    # the driver itself would start transactions too late; begin_sqlite does it instead
    raw.isolation_level = None
    _use_wal(raw)
    raw.execute("PRAGMA foreign_keys=ON")
    raw.execute("PRAGMA synchronous=FULL")


def _use_wal(raw: sqlite3.Connection) -> None:
    """WAL: readers never wait. Changing to it does not honour the busy timeout, so waiting is done here."""
    until = time.monotonic() + BUSY_SECONDS
    while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def begin_sqlite(conn: sa.Connection, how: str) -> None:
    """BEGIN, or BEGIN IMMEDIATE to take the write lock at once: a reader that starts to write may be refused."""
    raw: Any = conn.connection.driver_connection
    raw.execute(how)


def _fsync(conn: sa.Connection, durable: bool) -> None:
    """In WAL mode FULL syncs at every commit; NORMAL leaves it to the next checkpoint or durable commit."""
    if conn.info.get("durable", True) != durable:
        raw: Any = conn.connection.driver_connection
        raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        conn.info["durable"] = durable
