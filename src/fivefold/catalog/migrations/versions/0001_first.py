"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "ff_audit",
        _serial("id"),
        _text("project"),
        _whole("at"),
        _text("actor"),
        _text("action"),
        _text("subject"),
        _text("before", optional=True),
        _text("after", optional=True),
        _text("note"),
        sa.PrimaryKeyConstraint("id", name="pk_ff_audit"),
    )
    op.create_index("ix_ff_audit_project_id", "ff_audit", ["project", "id"])
    op.create_index("ix_ff_audit_project_subject_id", "ff_audit", ["project", "subject", "id"])
    op.create_table(
        "ff_definitions",
        _text("project"),
        _text("kind"),
        _text("name"),
        _whole("revision"),
        _whole("removed_revision", optional=True),
        _text("digest"),
        _text("value"),
        _text("pinned"),
        _whole("applied_at"),
        _whole("removed_at", optional=True),
        _text("actor"),
        sa.PrimaryKeyConstraint("project", "kind", "name", "revision", name="pk_ff_definitions"),
    )
    op.create_index("ix_ff_definitions_project_removed_revision", "ff_definitions", ["project", "removed_revision"])
    op.create_table(
        "ff_deliveries",
        _text("project"),
        _text("run_id"),
        _text("key"),
        _text("digest"),
        _whole("received_at"),
        sa.PrimaryKeyConstraint("project", "run_id", "key", name="pk_ff_deliveries"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ff_labels",
        _text("project"),
        _text("space"),
        _text("key"),
        _text("run_id"),
        _text("value"),
        sa.PrimaryKeyConstraint("project", "space", "key", "run_id", name="pk_ff_labels"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ff_latest_metrics",
        _text("project"),
        _text("key"),
        _text("run_id"),
        _real("value"),
        sa.PrimaryKeyConstraint("project", "key", "run_id", name="pk_ff_latest_metrics"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_ff_latest_metrics_project_key_value_run_id", "ff_latest_metrics", ["project", "key", "value", "run_id"]
    )
    op.create_table(
        "ff_lineage",
        _text("project"),
        _text("from_kind"),
        _text("from_id"),
        _text("to_kind"),
        _text("to_id"),
        _text("relation"),
        _whole("linked_at"),
        sa.PrimaryKeyConstraint(
            "project", "from_kind", "from_id", "to_kind", "to_id", "relation", name="pk_ff_lineage"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_ff_lineage_project_to_kind_to_id", "ff_lineage", ["project", "to_kind", "to_id"])
    op.create_table(
        "ff_points",
        _text("project"),
        _text("run_id"),
        _text("key"),
        _whole("number"),
        _real("value"),
        _whole("step"),
        _whole("time"),
        _real("lower"),
        _real("upper"),
        sa.PrimaryKeyConstraint("project", "run_id", "key", "number", name="pk_ff_points"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ff_projects", _text("project"), _whole("revision"), sa.PrimaryKeyConstraint("project", name="pk_ff_projects")
    )
    op.create_table(
        "ff_runs",
        _text("project"),
        _text("id"),
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
        _bytes("metrics"),
        sa.PrimaryKeyConstraint("project", "id", name="pk_ff_runs"),
    )
    op.create_index("ix_ff_runs_project_kind_name_started_at", "ff_runs", ["project", "kind", "name", "started_at"])
    op.create_index("ix_ff_runs_project_started_at_id", "ff_runs", ["project", "started_at", "id"])
    op.create_index("ix_ff_runs_project_status_lease_until", "ff_runs", ["project", "status", "lease_until"])
    op.create_table(
        "ff_snapshots",
        _text("project"),
        _text("source"),
        _whole("number"),
        _text("digest"),
        _text("parts"),
        _whole("recorded_at"),
        sa.PrimaryKeyConstraint("project", "source", "number", name="pk_ff_snapshots"),
    )
    op.create_index("ix_ff_snapshots_project_source_digest", "ff_snapshots", ["project", "source", "digest"])
    op.create_table(
        "ff_works",
        _text("project"),
        _text("id"),
        _text("kind"),
        _text("key"),
        _text("request"),
        _text("status"),
        _text("error"),
        _whole("begun_at"),
        _whole("ended_at", optional=True),
        sa.PrimaryKeyConstraint("project", "id", name="pk_ff_works"),
    )
    op.create_index("ix_ff_works_project_key", "ff_works", ["project", "key"])
    op.create_index("ix_ff_works_project_kind_begun_at", "ff_works", ["project", "kind", "begun_at"])
    op.create_table(
        "ff_steps",
        _text("project"),
        _text("work_id"),
        _text("step"),
        _text("status"),
        _text("owner"),
        _whole("fence"),
        _whole("lease_until"),
        _whole("started_at"),
        _whole("finished_at", optional=True),
        _text("result", optional=True),
        _text("error"),
        sa.PrimaryKeyConstraint("project", "work_id", "step", name="pk_ff_steps"),
        sa.ForeignKeyConstraint(
            ["project", "work_id"], ["ff_works.project", "ff_works.id"], name="fk_ff_steps_project_work_id"
        ),
    )
    op.create_index("ix_ff_steps_project_step_finished_at", "ff_steps", ["project", "step", "finished_at"])
    op.create_table(
        "ff_versions",
        _text("project"),
        _text("model"),
        _whole("number"),
        _text("key"),
        _text("run_id", optional=True),
        _text("artifact"),
        _text("info"),
        _whole("created_at"),
        _text("actor"),
        sa.PrimaryKeyConstraint("project", "model", "number", name="pk_ff_versions"),
        sa.ForeignKeyConstraint(
            ["project", "run_id"], ["ff_runs.project", "ff_runs.id"], name="fk_ff_versions_project_run_id"
        ),
    )
    op.create_index("ix_ff_versions_project_key", "ff_versions", ["project", "key"])
    op.create_index("ix_ff_versions_project_model_key", "ff_versions", ["project", "model", "key"], unique=True)
    op.create_table(
        "ff_alias_changes",
        _text("project"),
        _text("model"),
        _text("alias"),
        _whole("number"),
        _whole("version", optional=True),
        _whole("valid_from"),
        _whole("recorded_at"),
        _text("key"),
        _text("actor"),
        _text("reason"),
        _text("decision"),
        sa.PrimaryKeyConstraint("project", "model", "alias", "number", name="pk_ff_alias_changes"),
        sa.ForeignKeyConstraint(
            ["project", "model", "version"],
            ["ff_versions.project", "ff_versions.model", "ff_versions.number"],
            name="fk_ff_alias_changes_project_model_version",
        ),
    )
    op.create_index(
        "ix_ff_alias_changes_project_model_alias_valid_from_number",
        "ff_alias_changes",
        ["project", "model", "alias", "valid_from", "number"],
    )


def _text(name: str, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=optional)


def _whole(name: str, optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=optional, autoincrement=False)


def _real(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _serial(name: str) -> sa.Column[int]:
    # an autoincrementing key must be exactly INTEGER on SQLite
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True)
