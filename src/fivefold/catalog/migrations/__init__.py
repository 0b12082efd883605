"""The catalog's schema, revision by revision (Alembic), shipped with the package."""

from __future__ import annotations

VERSION_TABLE = "ff_schema"

# oldest first; the last is what this version of fivefold reads and writes
REVISIONS = ("0001", "0002", "0003", "0004", "0005")
