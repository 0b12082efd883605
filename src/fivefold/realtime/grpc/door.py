"""Calls of gRPC for those whom the door lets in; who that is reaches the code behind as `context.principal`."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import unquote

from fivefold.access.authenticate import Credentials
from fivefold.core.errors import FivefoldError
from fivefold.core.identity import Principal
from fivefold.realtime.door import Door
from fivefold.realtime.http.routes import Permission
from fivefold.realtime.telemetry.stages import Stages
from fivefold.realtime.telemetry.watching import Visit, Watch

UNSEEN = Visit()
"""Of a call that nobody watches."""

Answer = Callable[..., Any]
Refusal = Callable[[Exception], tuple[Any, str]]


class Context:
    """The context of a call, who makes it, and where it is noted how far it is, when it is traced."""

    __slots__ = (
        "abort",
        "invocation_metadata",
        "peer",
        "principal",
        "set_trailing_metadata",
        "stages",
        "time_remaining",
    )

    def __init__(self, call: Any, principal: Principal, stages: Stages | None = None) -> None:
        self.principal, self.stages = principal, stages
        self.abort, self.time_remaining, self.peer = call.abort, call.time_remaining, call.peer
        self.invocation_metadata, self.set_trailing_metadata = call.invocation_metadata, call.set_trailing_metadata


def guarded(answer: Answer, permission: Permission, door: Door, refusal: Refusal) -> Answer:
    """An answer for those who may ask, whatever its shape; of a stream, each request is held against the door anew.

    A visit, where one is given, is told who asks.
    """

    async def entered(call: Any) -> Principal:
        try:
            given = credentials(call)
            known = door.known(permission, given)
            return known if known is not None else await door.admit(permission, given)
        except FivefoldError as e:
            await call.abort(*refusal(e))
            raise AssertionError("abort raises") from e

    async def one(request: Any, call: Any, visit: Visit = UNSEEN) -> Any:
        principal = await entered(call)
        if visit is not UNSEEN:
            visit.principal = principal
        return await answer(request, Context(call, principal, visit.stages))

    async def stream(requests: AsyncIterator[Any], call: Any) -> AsyncIterator[Any]:
        context = Context(call, await entered(call))

        async def still_allowed() -> AsyncIterator[Any]:
            async for request in requests:
                # a stream may last for days; a right may be taken away meanwhile
                context.principal = await entered(call)
                yield request

        async for made in answer(still_allowed(), context):
            yield made

    def waiting(request: Any, call: Any) -> Any:
        try:
            principal = door.admit_waiting(permission, credentials(call))
        except FivefoldError as e:
            call.abort(*refusal(e))
            raise AssertionError("abort raises") from e
        return answer(request, Context(call, principal))

    if inspect.isasyncgenfunction(answer):
        return stream
    return one if inspect.iscoroutinefunction(answer) else waiting


def watched(answer: Answer, path: str, watch: Watch) -> Answer:
    """A guarded answer whose calls are seen: counted, logged, traced. Of a stream, the stream is one call."""

    async def one(request: Any, call: Any) -> Any:
        visit = watch.begin_call(path, call.invocation_metadata())
        try:
            return await answer(request, call, visit)
        finally:
            watch.end_call(visit, path, peer_address(call.peer()), _code(call))

    async def stream(requests: AsyncIterator[Any], call: Any) -> AsyncIterator[Any]:
        visit = watch.begin_call(path, call.invocation_metadata())
        try:
            async for made in answer(requests, call):
                yield made
        finally:
            watch.end_call(visit, path, peer_address(call.peer()), _code(call))

    def waiting(request: Any, call: Any) -> Any:
        visit, coded = watch.begin_call(path, call.invocation_metadata()), _Coded(call)
        try:
            return answer(request, coded)
        finally:
            watch.end_call(visit, path, peer_address(call.peer()), coded.said)

    if inspect.isasyncgenfunction(answer):
        return stream
    return one if inspect.iscoroutinefunction(answer) else waiting


class _Coded:
    """The context of a call that waits in a thread, which does not say itself with which status it was ended."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.said = "OK"

    def abort(self, code: Any, details: str) -> None:
        """End the call with a status. Raises what ends it."""
        self.said = code.name
        self._call.abort(code, details)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def _code(call: Any) -> str:
    """The name of a call's status, so far: OK, if none was set."""
    code = call.code()
    if not code:
        return "OK"
    return str(getattr(code, "name", code))


def credentials(call: Any) -> Credentials:
    """What a call brings: the metadata `authorization`, and the common name of a client certificate."""
    sent = [value for key, value in call.invocation_metadata() or () if key == "authorization"]
    names = call.auth_context().get("x509_common_name", ())
    header = sent[0] if len(sent) == 1 else "several" if sent else ""
    name = names[0] if len(names) == 1 else b""
    return Credentials(
        header.encode() if isinstance(header, str) else header,
        name.decode(errors="replace") if isinstance(name, bytes) else name,
        peer_address(call.peer()),
    )


def peer_address(peer: str) -> str:
    """The address of `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`; another form is left as it is."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].strip("[]")
