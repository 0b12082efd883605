"""What was released under differential privacy, and what each release spent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "ff_releases",
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("ledger", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("curve", sa.Text, nullable=False),
        sa.Column("epsilon", sa.Double, nullable=False),
        sa.Column("delta", sa.Double, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("project", "ledger", "number", name="pk_ff_releases"),
    )
    op.create_index("uq_ff_releases_key", "ff_releases", ["project", "ledger", "key"], unique=True)
