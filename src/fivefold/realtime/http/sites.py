"""Which names a server answers to, and to whose web pages: Host, Origin and CORS (Fetch standard, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

from fivefold.features.fields import shown
from fivefold.realtime.http.http1 import Response
from fivefold.realtime.http.replies import Reply

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
ANY = "*"

_MOST_KNOWN = 100
"""Host headers that are remembered as ours, ports and all."""

_VARY = (b"vary", b"origin")
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, accept, inference-header-content-length",
    ),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = (b"access-control-expose-headers", b"inference-header-content-length, retry-after, www-authenticate")


class Sites:
    """The Host names of a server, and the origins whose pages may read its answers.

    Cookies and other credentials that a browser adds by itself are never asked for: a page sends its token in a header.
    """

    def __init__(self, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._hosts = frozenset(h.lower() for h in hosts)
        self.origins = frozenset(o.lower().encode() for o in origins)
        self._known: set[bytes] = set()

    def require(self, headers: Mapping[bytes, bytes]) -> None:
        """Raise Reply for a host that is not ours, and for a page of an origin that is neither ours nor named."""
        host = headers.get(b"host", b"")
        # a page of another site could reach a local server under a name of its own (DNS rebinding)
        if host not in self._known:
            self._require_host(host)
        origin = headers.get(b"origin")
        if origin and not self._is_ours(origin):
            raise Reply(
                403,
                f"this server does not answer to pages of {shown(origin.decode('latin-1'))}.",
                "It answers to those of `origins` in fivefold.toml.",
            )

    def preflight(self, headers: Mapping[bytes, bytes]) -> Response | None:
        """The answer to a browser that asks whether a page may send a request; None when it is none of a named one."""
        origin = headers.get(b"origin", b"")
        if b"access-control-request-method" not in headers or origin.lower() not in self.origins:
            return None
        return Response(200, b"", headers=_PREFLIGHT)

    def shared(self, response: Response, headers: Mapping[bytes, bytes]) -> Response:
        """An answer that pages of named origins may read."""
        added: tuple[tuple[bytes, bytes], ...] = (_VARY,)
        origin = headers.get(b"origin", b"")
        if origin.lower() in self.origins:
            added = (_VARY, (b"access-control-allow-origin", origin), _EXPOSED)
        return response._replace(headers=response.headers + added)

    def _is_ours(self, origin: bytes) -> bool:
        return origin.lower() in self.origins or _hostname(origin.decode("latin-1").partition("://")[2]) in self._hosts

    def _require_host(self, given: bytes) -> None:
        host = given.decode("latin-1")
        if ANY not in self._hosts and _hostname(host) not in self._hosts:
            raise Reply(421, f"this server does not answer to the host {shown(host)}.")
        if len(self._known) < _MOST_KNOWN:
            self._known.add(given)


def _hostname(host: str) -> str:
    return host[: host.index("]") + 1].lower() if host.startswith("[") and "]" in host else host.split(":")[0].lower()
