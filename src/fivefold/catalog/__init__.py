"""The database of a project: what is applied, what was tracked, and the journal of durable steps."""

from fivefold.catalog.connection import Catalog, open_catalog

__all__ = ["Catalog", "open_catalog"]
