"""A line over gRPC with TLS on both sides: bytes in, bytes out, one method."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from fivefold.core.errors import Invalid, Unavailable
from fivefold.federated.identity import certificates
from fivefold.federated.refusals import Refused
from fivefold.federated.wire.envelope import MOST_BYTES
from fivefold.federated.wire.line import Answer, Peer

PATH = "/fivefold.federated.v1.Federation/Call"
THREADS = 8
MOST_WAITING = 512
"""Calls at once, under way and waiting for a thread; more are told to try again."""

_OPTIONS = [
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", MOST_BYTES),
    ("grpc.so_reuseport", 0),
]
_RECONNECT = {"initial": 200, "min": 1000, "max": 2000}
NOBODY = Peer("", "")


class GrpcLine:
    """A line to `address` (host:port), whose certificate must be of `authority` (PEM).

    `tls` is the client's own key and certificate in PEM; without it only enrolment is answered.
    """

    def __init__(self, address: str, authority: bytes, tls: bytes | None = None, *, seconds: float = 30.0) -> None:
        self._seconds, self.address = seconds, address
        key, chain = (None, None) if tls is None else _parts(tls)
        credentials = grpc.ssl_channel_credentials(authority, key, chain)
        # a server that comes back is found within a second or two: gRPC's own pauses grow to two minutes
        pauses = [(f"grpc.{which}_reconnect_backoff_ms", ms) for which, ms in _RECONNECT.items()]
        # a proxy of the environment would be asked for a host that it may not know
        options = [*_OPTIONS, *pauses, ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.secure_channel(address, credentials, options=options)
        self._call = self._channel.unary_unary(PATH)

    def call(self, request: bytes) -> bytes:
        """Send a request and wait for its answer. Raises Unavailable when there is none in time."""
        try:
            answer: bytes = self._call(request, timeout=self._seconds)
        except grpc.RpcError as wrong:
            details = wrong.details() if isinstance(wrong, grpc.Call) else str(wrong)
            raise Unavailable(
                f"{self.address} did not answer: {details}.", hint="It is tried again as long as the round goes on."
            ) from None
        return answer

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


class GrpcListener:
    """Listens on an address with a certificate; its clients must have one of `authority` too, unless that is None.

    `tls` gives the key and certificate (PEM) to show; it is asked at every handshake, so that a renewed one is shown.
    """

    def __init__(self, answer: Answer, host: str, port: int, tls: Callable[[], bytes], authority: bytes | None) -> None:
        self._answer, self._mutual = answer, authority is not None
        self._seen: dict[bytes, Peer] = {}
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, "federation"), options=_OPTIONS, maximum_concurrent_rpcs=MOST_WAITING
        )
        handler = grpc.unary_unary_rpc_method_handler(self._handle)
        service, method = PATH.strip("/").split("/")
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        shown = tls()

        def configuration() -> Any:
            return grpc.ssl_server_certificate_configuration([_parts(shown)], authority)

        def renewed() -> Any:
            nonlocal shown
            before, shown = shown, tls()
            return None if shown == before else configuration()

        credentials = grpc.dynamic_ssl_server_credentials(configuration(), renewed, authority is not None)
        where = f"[{host}]" if ":" in host else host
        try:
            self.port = int(self._server.add_secure_port(f"{where}:{port}", credentials))
        except RuntimeError as wrong:
            raise Unavailable(f"cannot listen on {host}:{port}: {wrong}.", hint="Try another port.") from None
        self._server.start()

    def close(self, seconds: float = 1.0) -> None:
        """Stop listening, and give calls under way so many seconds."""
        self._server.stop(seconds).wait()

    def _handle(self, request: bytes, context: Any) -> bytes:
        try:
            return self._answer(self._peer(context), request)
        except Refused as refused:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refused))
        except Exception as e:  # the edge of the process: one call may fail, the others go on
            traceback.print_exception(e, file=sys.stderr)
            context.abort(grpc.StatusCode.INTERNAL, "something is wrong here, not with the request")
        raise AssertionError("abort raises")

    def _peer(self, context: Any) -> Peer:
        """Who calls, by the certificate that TLS has verified; names in messages are compared with it."""
        if not self._mutual:
            return NOBODY
        (pem,) = context.auth_context()["x509_pem_cert"]
        if pem not in self._seen:
            if len(self._seen) > 4096:
                self._seen.clear()
            found = certificates.said(certificates.der(pem))
            self._seen[pem] = Peer(found.name, found.serial)
        return self._seen[pem]


def _parts(tls: bytes) -> tuple[bytes, bytes]:
    """A key and a chain of certificates, from one text."""
    marker = b"-----BEGIN CERTIFICATE-----"
    key, found, chain = tls.partition(marker)
    if not found or b"PRIVATE KEY" not in key:
        raise Invalid("a private key and a certificate in PEM are needed.")
    return key, marker + chain
