"""`GET /predictions/{id}`: what is known of a logged prediction."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.replay.why import why
from fivefold.workspace import Workspace

_encode = msgspec.json.Encoder().encode


class WhyRoutes:
    """Explains predictions of a workspace's log; one is there a moment after it was answered."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [Route("GET", "/predictions/{id}", self._explain, Permission.READ)]

    async def _explain(self, request: Request) -> Response:
        # files are read: others are answered meanwhile
        asked = partial(why, self._workspace, request.params["id"])
        return Response(200, _encode(await asyncio.get_running_loop().run_in_executor(None, asked)))
