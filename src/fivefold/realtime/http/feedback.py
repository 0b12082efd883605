"""`POST /feedback`: what was true about predictions, by their identifiers.

Labels decide which version is served, so who only asks for predictions may not send them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from fivefold.core.errors import Invalid
from fivefold.features.fields import shown
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.feedback import MOST, Labels
from fivefold.realtime.http.replies import require_json
from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.protocols.bounds import decoded

_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode
_SEND = 'Send {"id": "p…", "label": …} or {"labels": [{…}, …]}.'


class FeedbackRoutes:
    """Labels for the endpoints of a server."""

    def __init__(self, endpoints: Mapping[str, Live], labels: Labels) -> None:
        self._endpoints, self._labels = endpoints, labels

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [Route("POST", "/feedback", self._on_feedback, Permission.OPERATE)]

    async def _on_feedback(self, request: Request) -> Response:
        require_json(request.headers)
        given = decoded(_json, request.body, _SEND)
        alone = not (isinstance(given, dict) and set(given) == {"labels"})
        rows = [given] if alone else given["labels"]
        if not isinstance(rows, list) or not 0 < len(rows) <= MOST:
            raise Invalid(f"labels is {shown(rows)} (accepted: a list of 1 to {MOST}).", hint=_SEND)
        # files are read: others are answered meanwhile
        asked = partial(self._labels.take, self._endpoints, rows)
        found = await asyncio.get_running_loop().run_in_executor(None, asked)
        if alone and found[0] is not None:
            raise found[0]
        errors = [{"label": i, "message": e.message, "hint": e.hint} for i, e in enumerate(found) if e is not None]
        return Response(200, _encode({"taken": len(found) - len(errors), "errors": errors}))
