from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fivefold.catalog import migrations, open_catalog
from fivefold.catalog.database import connect
from fivefold.catalog.migrations import REVISIONS, VERSION_TABLE
from fivefold.catalog.tables import metadata
from fivefold.core.errors import Unsupported


def test_the_migrations_lead_from_nothing_to_exactly_the_tables(catalog_url: str) -> None:
    open_catalog(catalog_url, "flights").close()
    engine = connect(catalog_url)
    with engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISIONS[-1]
    engine.dispose()


def test_the_revisions_named_are_those_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [REVISIONS[-1]]
    assert tuple(r.revision for r in reversed(list(script.walk_revisions()))) == REVISIONS


def test_opening_again_changes_nothing(catalog_url: str) -> None:
    open_catalog(catalog_url, "flights").close()
    before = _schema(catalog_url)
    open_catalog(catalog_url, "flights").close()
    assert _schema(catalog_url) == before


def test_a_newer_database_is_refused_and_says_what_to_do(catalog_url: str) -> None:
    open_catalog(catalog_url, "flights").close()
    engine = connect(catalog_url)
    with engine.begin() as conn:
        conn.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(Unsupported, match=r"'9999'.*pip install -U"):
        open_catalog(catalog_url, "flights")


def test_tables_of_other_programs_are_left_alone(catalog_url: str) -> None:
    engine = connect(catalog_url)
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE runs (x INTEGER)"))
        conn.execute(sa.text("CREATE TABLE alembic_version (version_num TEXT)"))
        conn.execute(sa.text("INSERT INTO alembic_version VALUES ('of another program')"))
    open_catalog(catalog_url, "flights").close()
    with engine.connect() as conn:
        assert conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "of another program"
    engine.dispose()


def test_a_migration_killed_at_any_statement_is_finished_by_the_next_opening(tmp_path: Path) -> None:
    # every child is killed before its n-th statement; then the file is opened as if nothing had happened
    code = f"""
import os, signal, sqlalchemy as sa
import alembic.command
from fivefold.catalog import open_catalog
from fivefold.catalog.database import connect
from fivefold.catalog.tables import metadata

def child(url, last):
    seen = 0
    @sa.event.listens_for(sa.engine.Engine, "before_cursor_execute")
    def count(*_):
        nonlocal seen
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
    open_catalog(url, "flights").close()
    os._exit(0)

def killed_at(n):
    url = f"sqlite:///{tmp_path}/{{n}}.db"
    pid = os.fork()
    if not pid:
        child(url, n)
    status = os.waitpid(pid, 0)[1]
    engine = connect(url)
    left = [t for t in sa.inspect(engine).get_table_names() if t.startswith("ff_")]
    with open_catalog(url, "flights") as opened:
        opened.versions.register("late", "k", artifact="a")
    assert set(metadata.tables) <= set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return os.WIFSIGNALED(status), len(left)

n, found = 1, []
while not found or found[-1][0]:
    found.append(killed_at(n))
    n += 1
assert all(left == 0 for killed, left in found if killed), found
print(n)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > len(metadata.tables)


def _schema(url: str) -> list[object]:
    engine = connect(url)
    found = sa.inspect(engine)
    schema = [(t, found.get_columns(t), found.get_indexes(t)) for t in sorted(found.get_table_names())]
    engine.dispose()
    return [str(each) for each in schema]
