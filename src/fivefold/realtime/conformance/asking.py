"""Requests as plain bytes, so that nothing is made right on the way, and what a check may say."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from fivefold.core.errors import Invalid
from fivefold.features.fields import shown

SECONDS = 20.0
MOST_ANSWER_BYTES = 64 << 20


class Wrong(Exception):
    """What a server does that the protocol does not allow."""


class Skipped(Exception):
    """Why a question does not apply."""


class Reply(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, what: str) -> Any:
        """The body as JSON. Raises Wrong for another."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Wrong(f"{what}: the body is {shown(self.body)}, not JSON") from None


class Http:
    """A server at an URL; each request has a connection of its own, and a bearer token where one is given.

    Raises Invalid for what is no URL.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._token = {"authorization": f"Bearer {token}"} if token else {}
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{url!r} is not the URL of a server.", hint="Write for instance http://localhost:8000.")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._where = (parts.hostname, parts.port)
        self._base = parts.path.rstrip("/")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """The answer to a request; no header but the token is sent that is not named, underscores stand for dashes.

        Raises Wrong when there is none.
        """
        what = f"{method} {path}"
        connection = self._kind(*self._where, timeout=SECONDS)
        try:
            named = {n.replace("_", "-"): v for n, v in headers.items()}
            connection.request(method, self._base + path, body, self._token | named)
            found = connection.getresponse()
            raw = found.read(MOST_ANSWER_BYTES + 1)
            if len(raw) > MOST_ANSWER_BYTES:
                raise Wrong(f"{what}: the answer is longer than {MOST_ANSWER_BYTES} bytes")
            return Reply(found.status, {n.lower(): v for n, v in found.getheaders()}, raw)
        except (OSError, http.client.HTTPException) as e:
            raise Wrong(f"{what}: no answer ({type(e).__name__}: {e})") from None
        finally:
            connection.close()

    def told(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """The JSON of an answer with the status 200. Raises Wrong for anything else."""
        reply = self.ask(method, path, body, **headers)
        if reply.status != 200:
            raise Wrong(f"{method} {path}: status {reply.status}, not 200 (body: {shown(reply.body)})")
        return reply.json(f"{method} {path}")


def model_path(model: str, version: str = "") -> str:
    """The path of a model, and of one version of it; names are percent-encoded."""
    return f"/v2/models/{quote(model)}" + (f"/versions/{quote(version)}" if version else "")


def require_refused(reply: Reply, what: str) -> None:
    """Raise Wrong unless a request was refused with a 4xx and `{"error": text}`."""
    if not 400 <= reply.status < 500:
        raise Wrong(f"{what}: status {reply.status}, not 4xx (body: {shown(reply.body)})")
    told = reply.json(what)
    if not isinstance(told, dict) or not isinstance(told.get("error"), str) or not told["error"]:
        raise Wrong(f"{what}: the body is {shown(told)}, not an object with the text 'error'")


def require_texts(told: Any, what: str, *names: str) -> None:
    """Raise Wrong unless an object has these members, each a text."""
    if not isinstance(told, dict):
        raise Wrong(f"{what} is {shown(told)}, not an object")
    for name in names:
        if not isinstance(told.get(name), str):
            raise Wrong(f"{what}: {name} is {shown(told.get(name))}, not a text")
