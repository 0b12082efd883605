from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from fivefold.data.duck import connect
from fivefold.data.ingest import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state" / "tables", tmp_path / "state" / "scratch")


@pytest.fixture
def connection(places: Places) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(places.scratch) as opened:
        yield opened
