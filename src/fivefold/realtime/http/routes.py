"""The table of routes: what is answered at all, by what, and who may ask for it. What is not in it is refused."""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from fivefold.core.errors import Invalid
from fivefold.core.identity import NOBODY, Principal
from fivefold.features.fields import shown
from fivefold.realtime.http.http1 import Response
from fivefold.realtime.http.replies import Reply
from fivefold.realtime.telemetry.stages import Stages

__all__ = ["Permission", "Request", "Response", "Route", "Routes"]

MOST_KNOWN = 1000
"""Paths whose route is remembered."""


class Permission(enum.StrEnum):
    """What a caller needs to be allowed, stated where a route is registered."""

    PUBLIC = "public"
    """Nothing: whether the server is there, without saying of what."""
    READ = "read"
    """To see what there is."""
    PREDICT = "predict"
    """To ask for predictions."""
    OPERATE = "operate"
    """To change what is served, or what it is served from."""


class Request(NamedTuple):
    """What came: the parts of its path that a route names, query, headers, body, from where, and who is asking."""

    params: Mapping[str, str]
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    peer: str = ""
    principal: Principal = NOBODY
    stages: Stages | None = None
    """Where it is noted how far it is, when it is traced."""


Handler = Callable[[Request], Awaitable[Response]]


class Route(NamedTuple):
    """`{name}` in a pattern is a part of the path that may hold slashes: patterns are matched from the right."""

    method: str
    pattern: str
    handler: Handler
    permission: Permission


class Routes:
    """All routes of a server."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = tuple(routes)
        for route in self.all:
            require_permission(route.permission, f"{route.method} {route.pattern}")
        self._exact: dict[str, list[Route]] = {}
        self._by_start: dict[str, list[tuple[re.Pattern[str], Route]]] = {}
        self._known: dict[tuple[str, str], tuple[Route, Mapping[str, str]]] = {}
        for route in self.all:
            if "{" not in route.pattern:
                self._exact.setdefault(route.pattern, []).append(route)
                continue
            first = _first(route.pattern)
            self._by_start.setdefault(first, []).append((_compiled(route.pattern), route))
        for found in self._by_start.values():
            # the more a pattern says, the earlier it is tried
            found.sort(key=lambda item: -len(re.sub(r"\{\w+\}", "", item[1].pattern)))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """The route of a request, and the named parts of its path; None when there is nothing at that path.

        Raises Reply when another method is accepted there. HEAD is accepted where GET is.
        """
        known = self._known.get((method, path))
        if known is not None:
            return known
        found = self._search(method, path)
        if found is not None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[method, path] = found
        return found

    def _search(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        asked = "GET" if method == "HEAD" else method
        others: list[str] = []
        for route in self._exact.get(path, ()):
            if route.method == asked:
                return route, {}
            others.append(route.method)
        for pattern, route in self._by_start.get(_first(path), ()):
            if (found := pattern.fullmatch(path)) is not None:
                if route.method == asked:
                    return route, found.groupdict()
                others.append(route.method)
        if others:
            raise _not_allowed(method, others)
        return None


def require_permission(permission: object, where: str) -> None:
    """Raise Invalid for what does not say who may ask for it."""
    if not isinstance(permission, Permission):
        raise Invalid(f"{where}: permission: {permission!r} (accepted: {', '.join(Permission)}).")


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)
    return re.compile(
        "".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>.+)" for i, part in enumerate(parts)), re.DOTALL
    )


def _not_allowed(method: str, others: list[str]) -> Reply:
    allowed = list(dict.fromkeys(m for other in others for m in ((other, "HEAD") if other == "GET" else (other,))))
    return Reply(
        405,
        f"{shown(method)[1:-1]} is not accepted here.",
        f"Use {' or '.join(allowed)}.",
        ((b"allow", ", ".join(allowed).encode()),),
    )
