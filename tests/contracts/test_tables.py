"""Every backend that reads tables keeps the contract, each against its real home."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fivefold.backends import backends_of, connect
from fivefold.ports.tables import TableReader
from fivefold.testing import tables


class Folder:
    marks_changes = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, rows: pa.Table, part: int = 0) -> None:
        pq.write_table(rows, self.root / f"part-{part}.parquet")

    def reader(self) -> TableReader:
        return connect(TableReader, "files:part-*.parquet", root=str(self.root))

    def missing(self) -> TableReader:
        return connect(TableReader, "files:nothing-*.parquet", root=str(self.root))


class Bucket:
    marks_changes = True

    def __init__(self, options: dict[str, str]) -> None:
        self.options, self.folder = options, uuid.uuid4().hex

    def put(self, rows: pa.Table, part: int = 0) -> None:
        import obstore
        from obstore.store import S3Store

        sink = io.BytesIO()
        pq.write_table(rows, sink)
        store = S3Store("artifacts", config=self.options, client_options={"allow_http": True})  # type: ignore[arg-type]
        obstore.put(store, f"{self.folder}/part-{part}.parquet", sink.getvalue())

    def reader(self) -> TableReader:
        return connect(TableReader, f"s3://artifacts/{self.folder}/part-*.parquet", **self.options)

    def missing(self) -> TableReader:
        return connect(TableReader, f"s3://artifacts/{uuid.uuid4().hex}/*.parquet", **self.options)


class Database:
    marks_changes = False  # there is no cheap way to ask PostgreSQL whether a table changed

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, rows: pa.Table, part: int = 0) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("drop table if exists orders")
            db.execute("create table orders (id bigint, name text, value double precision)")
            for row in rows.to_pylist():
                db.execute("insert into orders values (%(id)s, %(name)s, %(value)s)", row)

    def reader(self) -> TableReader:
        return connect(TableReader, self.with_query("table=public.orders"))

    def missing(self) -> TableReader:
        return connect(TableReader, self.with_query("table=nothing"))

    def with_query(self, query: str) -> str:
        return f"{self.url}{'&' if '?' in self.url else '?'}{query}"


@pytest.fixture(params=backends_of(TableReader))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    match request.param:
        case "files":
            return Folder(tmp_path)
        case "s3":
            return Bucket(request.getfixturevalue("s3_server"))
        case "postgres" | "postgresql":
            return Database(request.getfixturevalue("postgres_url"))
    raise AssertionError(f"say here how to put a table where {request.param!r} reads it")


@pytest.mark.parametrize("check", tables.checks, ids=lambda check: check.__name__)
def test_the_reader_keeps_the_contract(check: Callable[[Any, Path], None], place: Any, tmp_path: Path) -> None:
    check(place, tmp_path / "scratch")


def test_a_query_can_be_read_instead_of_a_table(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url)
    database.put(tables.ROWS)
    reader = connect(TableReader, database.with_query("query=select id from orders where id = 2"))
    (partition,) = reader.partitions()
    assert pq.read_table(reader.fetch(partition, tmp_path)).to_pydict() == {"id": [2]}


def test_a_password_never_shows_in_an_error(tmp_path: Path) -> None:
    from fivefold.core.errors import FivefoldError

    reader = connect(TableReader, "postgresql://me:hunter2@127.0.0.1:9/db?table=t")
    (partition,) = reader.partitions()
    with pytest.raises(FivefoldError) as caught:
        reader.fetch(partition, tmp_path)
    assert "hunter2" not in str(caught.value)
