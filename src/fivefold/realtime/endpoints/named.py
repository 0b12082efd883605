"""Endpoints found by the name that a request gives."""

from __future__ import annotations

from collections.abc import Mapping

from fivefold.core.errors import NotFound
from fivefold.realtime.endpoints.endpoint import Live


def named(endpoints: Mapping[str, Live], name: str, what: str = "endpoint") -> Live:
    """An endpoint. Raises NotFound, with the names there are, for one that is not served."""
    live = endpoints.get(name)
    if live is None:
        raise NotFound.named(what, name[:80], endpoints)
    return live
