"""gRPC: the table of calls, the server that answers them, and errors as status codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import grpc.aio

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Unavailable, Unsupported
from fivefold.core.identity import Forbidden, SlowDown, Unauthenticated
from fivefold.realtime.door import OPEN, Door
from fivefold.realtime.grpc.door import guarded, watched
from fivefold.realtime.http.routes import Permission, require_permission
from fivefold.realtime.protocols.bounds import MOST_BYTES, Expired, Limited, Overloaded, TooLarge
from fivefold.realtime.telemetry.watching import Watch

THREADS = 4
"""For calls that wait for something: those of the feature service. Predictions are made where requests are read."""

MOST_WAITING = 64
"""Requests at once, under way and waiting for a thread; more are told to try again."""

OPTIONS = [
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", 8 * MOST_BYTES),
    ("grpc.max_metadata_size", 64 << 10),
]
_CODES = {
    Limited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Expired: grpc.StatusCode.DEADLINE_EXCEEDED,
    SlowDown: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Unsupported: grpc.StatusCode.UNIMPLEMENTED,
}


class Call(NamedTuple):
    """`path` is `/package.Service/Method`; `request` the class of its messages; a stream has many both ways."""

    path: str
    request: Any
    answer: Callable[[Any, Any], Any]
    permission: Permission
    stream: bool = False


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]
    """All calls of a server, for those whom the door lets in. What is not among them is answered UNIMPLEMENTED.

    `watch` sees each of them.
    """

    def __init__(self, calls: Iterable[Call], door: Door = OPEN, watch: Watch | None = None) -> None:
        self.all = tuple(calls)
        for call in self.all:
            require_permission(call.permission, call.path)
        self._handlers = {c.path: _handler(c, door, watch) for c in self.all}

    def service(self, handler_call_details: Any) -> Any:
        """What handles a call."""
        return self._handlers.get(handler_call_details.method)


class RpcServer:
    """A gRPC server in the event loop of its caller; a port that is `shared` may be listened on by other processes."""

    def __init__(self, calls: Calls, host: str, port: int, credentials: Any = None, *, shared: bool = False) -> None:
        self._calls = calls
        self._credentials = credentials
        self._host = host
        self._port = port
        self._shared = shared
        self._server: Any = None

    async def start(self) -> str:
        """Listen; gives the address. Raises Unavailable when it is taken."""
        self._server = grpc.aio.server(
            ThreadPoolExecutor(THREADS, "gRPC"),
            handlers=(self._calls,),
            options=[*OPTIONS, ("grpc.so_reuseport", int(self._shared))],
            maximum_concurrent_rpcs=MOST_WAITING,
        )
        bound = listen(self._server, self._host, self._port, self._credentials)
        await self._server.start()
        return f"{self._host}:{bound}"

    async def stop(self, seconds: float) -> None:
        """Stop listening, and give calls under way so many seconds."""
        if self._server is not None:
            await self._server.stop(seconds)


def listen(server: Any, host: str, port: int, credentials: Any = None) -> int:
    """Bind a server to an address, with TLS where there are credentials for it; gives the port.

    Raises Unavailable when it is taken.
    """
    where = "127.0.0.1" if host == "localhost" else f"[{host}]" if ":" in host else host
    try:
        if credentials is not None:
            return int(server.add_secure_port(f"{where}:{port}", credentials))
        return int(server.add_insecure_port(f"{where}:{port}"))
    except RuntimeError as e:
        raise Unavailable(f"cannot serve gRPC on {host}:{port}: {e}.", hint="Try another --grpc-port.") from None


def refusal(error: Exception) -> tuple[grpc.StatusCode, str]:
    """An error as a status: its class says what the client can do about it. What is a fault of ours is printed."""
    if isinstance(error, FivefoldError):
        return next((c for kind, c in _CODES.items() if isinstance(error, kind)), grpc.StatusCode.UNKNOWN), str(error)
    traceback.print_exception(error, file=sys.stderr)
    return grpc.StatusCode.INTERNAL, "something is wrong here, not with the request."


def again_after(error: Overloaded) -> tuple[tuple[str, str], ...]:
    """When to ask again, as trailing metadata: whole seconds as in HTTP, and milliseconds as clients of gRPC read."""
    return (("retry-after", str(-(-error.retry_ms // 1000))), ("grpc-retry-pushback-ms", str(error.retry_ms)))


def in_thread(work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A call that may wait, of a request and its context, answered by a thread."""

    def answer(request: Any, context: Any) -> Any:
        try:
            return work(request, context)
        except Exception as e:  # the edge of the process: one request may fail, the others go on
            context.abort(*refusal(e))
            raise AssertionError("abort raises") from e

    return answer


def in_loop(work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A call that is a coroutine of a request and its context, answered where requests are read."""

    async def answer(request: Any, context: Any) -> Any:
        try:
            return await work(request, context)
        except Exception as e:  # the edge of the process: one request may fail, the others go on
            if isinstance(e, Overloaded):
                context.set_trailing_metadata(again_after(e))
            await context.abort(*refusal(e))
            raise AssertionError("abort raises") from e

    return answer


def each_in_loop(work: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A stream each of whose requests is answered, in order, before the next is read."""

    async def answer(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield await work(request, context)

    return answer


def _handler(call: Call, door: Door, watch: Watch | None) -> Any:
    make = grpc.stream_stream_rpc_method_handler if call.stream else grpc.unary_unary_rpc_method_handler
    answer = guarded(call.answer, call.permission, door, refusal)
    if watch is not None:
        answer = watched(answer, call.path, watch)
    return make(answer, call.request.FromString, lambda message: message.SerializeToString())
