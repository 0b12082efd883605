"""The tables of federations: who belongs to a project's federations, and the log of their rounds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from fivefold.catalog.tables import metadata


def _text(name: str, *, key: bool = False, optional: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=optional)


def _whole(name: str, *, key: bool = False, optional: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=optional, autoincrement=False)


invitations = Table(
    "ff_federation_invitations",
    metadata,
    _text("project", key=True),
    _text("id", key=True),
    _text("client"),
    _text("digest"),
    _whole("created_at"),
    _whole("expires_at"),
    _text("request", optional=True),
    _text("serial", optional=True),
)

members = Table(
    "ff_federation_members",
    metadata,
    _text("project", key=True),
    _text("client", key=True),
    _text("key"),
    _whole("joined_at"),
    _whole("revoked_at", optional=True),
)

certificates = Table(
    "ff_federation_certificates",
    metadata,
    _text("project", key=True),
    _text("serial", key=True),
    _text("client"),
    _text("key"),
    _text("request"),
    Column("certificate", LargeBinary, nullable=False),
    _whole("issued_at"),
    _whole("expires_at"),
    Index(None, "project", "client", "request", unique=True),
)

rounds = Table(
    "ff_federation_rounds",
    metadata,
    _text("project", key=True),
    _text("task", key=True),
    _whole("round", key=True),
    _text("status"),
    Column("offer", LargeBinary, nullable=False),
    _text("buckets"),
    _text("before"),
    _text("after", optional=True),
    _text("survivors", optional=True),
    _whole("opened_at"),
    _whole("deadline"),
    _whole("ended_at", optional=True),
    _text("error"),
    Index(None, "project", "task", "status"),
)

# what came in at each step of a round; a row without a sender ends the step. Clustered by its key on SQLite
messages = Table(
    "ff_federation_messages",
    metadata,
    _text("project", key=True),
    _text("task", key=True),
    _whole("round", key=True),
    _whole("bucket", key=True),
    _whole("step", key=True),
    _text("sender", key=True),
    _text("digest"),
    Column("body", LargeBinary, nullable=False),
    _whole("received_at"),
    sqlite_with_rowid=False,
)
