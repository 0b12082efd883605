"""Tables and queries of a PostgreSQL database: `postgresql://host/db?table=public.orders`, or `?query=select …`."""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fivefold.core.canonical import digest
from fivefold.core.errors import Invalid, NotFound, Unavailable, missing_extra
from fivefold.ports.tables import Partition, TableReader


class PostgresTable:
    """One table or query, read through ADBC as Arrow batches. A database has no cheap mark of change: it is read
    again each time, and what comes out the same changes nothing downstream."""

    def __init__(self, url: str, *, root: str = ".") -> None:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        self._table, self._query = asked.pop("table", None), asked.pop("query", None)
        if (self._table is None) == (self._query is None):
            raise Invalid(
                f"the table URL {parts.scheme}://{parts.hostname}{parts.path} must say what to read.",
                hint="Add ?table=schema.name or ?query=select … to it.",
            )
        self._url = urlunsplit(parts._replace(query=urlencode(asked)))
        self._where = f"{parts.hostname}{parts.path}"

    def partitions(self) -> list[Partition]:
        name = self._table or "query"
        return [Partition(f"{self._where}/{name}", digest("read", uuid.uuid4().hex))]

    def fetch(self, partition: Partition, scratch: Path) -> Path:
        try:
            import adbc_driver_postgresql.dbapi as adbc
        except ImportError:
            raise missing_extra("adbc-driver-postgresql", "postgres", f"the table {partition.name}") from None
        import pyarrow.parquet as pq

        scratch.mkdir(parents=True, exist_ok=True)
        target = scratch / f"{uuid.uuid4().hex}.parquet"
        try:
            with adbc.connect(self._url) as connection, connection.cursor() as cursor:
                cursor.execute(self._query or f"select * from {_quoted(self._table or '')}")
                with cursor.fetch_record_batch() as reader, pq.ParquetWriter(target, reader.schema) as writer:
                    for batch in reader:
                        writer.write_batch(batch)
        except adbc.ProgrammingError as e:
            raise NotFound(
                f"cannot read {partition.name}: {_brief(e)}.", hint="Check the table's name and schema."
            ) from e
        except adbc.Error as e:
            raise Unavailable(f"cannot read {partition.name}: {_brief(e)}.") from e
        return target


def _quoted(name: str) -> str:
    return ".".join('"' + piece.replace('"', '""') + '"' for piece in name.split("."))


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


provides = {TableReader: PostgresTable}
