"""The tables of the catalog. Every key starts with the project.

Names start with `ff_`, so that a database can be shared with other programs. JSON is kept as text and times as int64
microseconds UTC, so SQLite and PostgreSQL hold the same values.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# an autoincrementing key must be exactly INTEGER on SQLite
Serial = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, *, key: bool = False, optional: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=optional)


def _whole(name: str, *, key: bool = False, optional: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=optional, autoincrement=False)


projects = Table("ff_projects", metadata, _text("project", key=True), _whole("revision"))

definitions = Table(
    "ff_definitions",
    metadata,
    _text("project", key=True),
    _text("kind", key=True),
    _text("name", key=True),
    _whole("revision", key=True),
    _whole("removed_revision", optional=True),
    _text("digest"),
    _text("value"),
    _text("pinned"),
    _whole("applied_at"),
    _whole("removed_at", optional=True),
    _text("actor"),
    Index(None, "project", "removed_revision"),
)

snapshots = Table(
    "ff_snapshots",
    metadata,
    _text("project", key=True),
    _text("source", key=True),
    _whole("number", key=True),
    _text("digest"),
    _text("parts"),
    _whole("recorded_at"),
    Index(None, "project", "source", "digest"),
)

runs = Table(
    "ff_runs",
    metadata,
    _text("project", key=True),
    _text("id", key=True),
    _text("kind"),
    _text("name"),
    _text("status"),
    _text("error"),
    _text("actor"),
    _whole("started_at"),
    _whole("ended_at", optional=True),
    _whole("lease_until"),
    _whole("deleted_at", optional=True),
    _whole("points"),
    _text("params"),
    _text("tags"),
    Column("metrics", LargeBinary, nullable=False),
    Index(None, "project", "started_at", "id"),
    Index(None, "project", "kind", "name", "started_at"),
    Index(None, "project", "status", "lease_until"),
)

# clustered by its key on SQLite: one B-tree instead of two, and a metric's history lies together
points = Table(
    "ff_points",
    metadata,
    _text("project", key=True),
    _text("run_id", key=True),
    _text("key", key=True),
    _whole("number", key=True),
    Column("value", Double),
    _whole("step"),
    _whole("time"),
    Column("lower", Double),
    Column("upper", Double),
    sqlite_with_rowid=False,
)

latest_metrics = Table(
    "ff_latest_metrics",
    metadata,
    _text("project", key=True),
    _text("key", key=True),
    _text("run_id", key=True),
    Column("value", Double),
    Index(None, "project", "key", "value", "run_id"),
    sqlite_with_rowid=False,
)

# params and tags once more, one row each, so that searching them is an index lookup
labels = Table(
    "ff_labels",
    metadata,
    _text("project", key=True),
    _text("space", key=True),
    _text("key", key=True),
    _text("run_id", key=True),
    _text("value"),
    sqlite_with_rowid=False,
)

deliveries = Table(
    "ff_deliveries",
    metadata,
    _text("project", key=True),
    _text("run_id", key=True),
    _text("key", key=True),
    _text("digest"),
    _whole("received_at"),
    sqlite_with_rowid=False,
)

versions = Table(
    "ff_versions",
    metadata,
    _text("project", key=True),
    _text("model", key=True),
    _whole("number", key=True),
    _text("key"),
    _text("run_id", optional=True),
    _text("artifact"),
    _text("info"),
    _whole("created_at"),
    _text("actor"),
    Index(None, "project", "model", "key", unique=True),
    Index(None, "project", "key"),
    ForeignKeyConstraint(["project", "run_id"], ["ff_runs.project", "ff_runs.id"]),
)

alias_changes = Table(
    "ff_alias_changes",
    metadata,
    _text("project", key=True),
    _text("model", key=True),
    _text("alias", key=True),
    _whole("number", key=True),
    _whole("version", optional=True),
    _whole("valid_from"),
    _whole("recorded_at"),
    _text("key"),
    _text("actor"),
    _text("reason"),
    _text("decision"),
    Index(None, "project", "model", "alias", "valid_from", "number"),
    ForeignKeyConstraint(
        ["project", "model", "version"], ["ff_versions.project", "ff_versions.model", "ff_versions.number"]
    ),
)

lineage = Table(
    "ff_lineage",
    metadata,
    _text("project", key=True),
    _text("from_kind", key=True),
    _text("from_id", key=True),
    _text("to_kind", key=True),
    _text("to_id", key=True),
    _text("relation", key=True),
    _whole("linked_at"),
    Index(None, "project", "to_kind", "to_id"),
    sqlite_with_rowid=False,
)

audit = Table(
    "ff_audit",
    metadata,
    Column("id", Serial, primary_key=True),
    _text("project"),
    _whole("at"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    _text("before", optional=True),
    _text("after", optional=True),
    _text("note"),
    Index(None, "project", "id"),
    Index(None, "project", "subject", "id"),
)

works = Table(
    "ff_works",
    metadata,
    _text("project", key=True),
    _text("id", key=True),
    _text("kind"),
    _text("key"),
    _text("request"),
    _text("status"),
    _text("error"),
    _whole("begun_at"),
    _whole("ended_at", optional=True),
    Index(None, "project", "kind", "begun_at"),
    Index(None, "project", "key"),
)

steps = Table(
    "ff_steps",
    metadata,
    _text("project", key=True),
    _text("work_id", key=True),
    _text("step", key=True),
    _text("status"),
    _text("owner"),
    _whole("fence"),
    _whole("lease_until"),
    _whole("started_at"),
    _whole("finished_at", optional=True),
    _text("result", optional=True),
    _text("error"),
    ForeignKeyConstraint(["project", "work_id"], ["ff_works.project", "ff_works.id"]),
    Index(None, "project", "step", "finished_at"),
)

leases = Table(
    "ff_leases",
    metadata,
    _text("project", key=True),
    _text("name", key=True),
    _text("owner"),
    _whole("fence"),
    _whole("until"),
)

users = Table(
    "ff_users",
    metadata,
    _text("project", key=True),
    _text("name", key=True),
    _text("password", optional=True),
    _whole("created_at"),
    _whole("disabled_at", optional=True),
)

tokens = Table(
    "ff_tokens",
    metadata,
    _text("project", key=True),
    _text("id", key=True),
    _text("name"),
    _text("digest"),
    _whole("created_at"),
    _whole("expires_at", optional=True),
    _whole("revoked_at", optional=True),
    _whole("used_at", optional=True),
    Index(None, "project", "name"),
)

members = Table(
    "ff_members",
    metadata,
    _text("project", key=True),
    _text("group", key=True),
    _text("who", key=True),
    Index(None, "project", "who"),
)

grants = Table(
    "ff_grants",
    metadata,
    _text("project", key=True),
    _text("who", key=True),
    _text("role"),
    _whole("at"),
)
