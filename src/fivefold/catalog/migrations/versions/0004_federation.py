"""Members of federations, and the log of their rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "ff_federation_invitations",
        _text("project"),
        _text("id"),
        _text("client"),
        _text("digest"),
        _whole("created_at"),
        _whole("expires_at"),
        _text("request", optional=True),
        _text("serial", optional=True),
        sa.PrimaryKeyConstraint("project", "id", name="pk_ff_federation_invitations"),
    )
    op.create_table(
        "ff_federation_members",
        _text("project"),
        _text("client"),
        _text("key"),
        _whole("joined_at"),
        _whole("revoked_at", optional=True),
        sa.PrimaryKeyConstraint("project", "client", name="pk_ff_federation_members"),
    )
    op.create_table(
        "ff_federation_certificates",
        _text("project"),
        _text("serial"),
        _text("client"),
        _text("key"),
        _text("request"),
        _bytes("certificate"),
        _whole("issued_at"),
        _whole("expires_at"),
        sa.PrimaryKeyConstraint("project", "serial", name="pk_ff_federation_certificates"),
    )
    op.create_index(
        "ix_ff_federation_certificates_project_client_request",
        "ff_federation_certificates",
        ["project", "client", "request"],
        unique=True,
    )
    op.create_table(
        "ff_federation_rounds",
        _text("project"),
        _text("task"),
        _whole("round"),
        _text("status"),
        _bytes("offer"),
        _text("buckets"),
        _text("before"),
        _text("after", optional=True),
        _text("survivors", optional=True),
        _whole("opened_at"),
        _whole("deadline"),
        _whole("ended_at", optional=True),
        _text("error"),
        sa.PrimaryKeyConstraint("project", "task", "round", name="pk_ff_federation_rounds"),
    )
    op.create_index(
        "ix_ff_federation_rounds_project_task_status", "ff_federation_rounds", ["project", "task", "status"]
    )
    op.create_table(
        "ff_federation_messages",
        _text("project"),
        _text("task"),
        _whole("round"),
        _whole("bucket"),
        _whole("step"),
        _text("sender"),
        _text("digest"),
        _bytes("body"),
        _whole("received_at"),
        sa.PrimaryKeyConstraint(
            "project", "task", "round", "bucket", "step", "sender", name="pk_ff_federation_messages"
        ),
        sqlite_with_rowid=False,
    )


def _text(name: str, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=optional)


def _whole(name: str, optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=optional, autoincrement=False)


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)
