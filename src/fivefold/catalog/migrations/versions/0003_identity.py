"""Users, service tokens, groups and grants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "ff_users",
        _text("project"),
        _text("name"),
        _text("password", optional=True),
        _whole("created_at"),
        _whole("disabled_at", optional=True),
        sa.PrimaryKeyConstraint("project", "name", name="pk_ff_users"),
    )
    op.create_table(
        "ff_tokens",
        _text("project"),
        _text("id"),
        _text("name"),
        _text("digest"),
        _whole("created_at"),
        _whole("expires_at", optional=True),
        _whole("revoked_at", optional=True),
        _whole("used_at", optional=True),
        sa.PrimaryKeyConstraint("project", "id", name="pk_ff_tokens"),
    )
    op.create_index("ix_ff_tokens_project_name", "ff_tokens", ["project", "name"])
    op.create_table(
        "ff_members",
        _text("project"),
        _text("group"),
        _text("who"),
        sa.PrimaryKeyConstraint("project", "group", "who", name="pk_ff_members"),
    )
    op.create_index("ix_ff_members_project_who", "ff_members", ["project", "who"])
    op.create_table(
        "ff_grants",
        _text("project"),
        _text("who"),
        _text("role"),
        _whole("at"),
        sa.PrimaryKeyConstraint("project", "who", name="pk_ff_grants"),
    )


def _text(name: str, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=optional)


def _whole(name: str, optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=optional, autoincrement=False)
