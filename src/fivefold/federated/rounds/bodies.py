"""What stands in the envelopes between a site and the server, by method."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from fivefold.federated.identity.keys import Request
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds.manifest import Offer
from fivefold.federated.secure_sum.messages import FromClient, FromServer
from fivefold.federated.wire.failures import Failure
from fivefold.federated.wire.parcels import Parcel

NEXT, ANSWER, ANNOUNCE, PUT, GET, RENEW = "next", "answer", "announce", "put", "get", "renew"
INLINE = 1 << 19
"""Bytes of a vector that stand in the message itself; larger ones travel as a parcel."""

B = TypeVar("B")


class Idle(msgspec.Struct, frozen=True, tag="idle"):
    """There is nothing to do for so many seconds; `over` when there will be nothing any more."""

    seconds: float
    over: bool = False


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """The next step of a round, and what the server has to say in it."""

    round: int
    step: int
    message: FromServer


class Plain(msgspec.Struct, frozen=True, tag="plain"):
    """Client, where the server is trusted: its vector as it is, packed."""

    client: str
    data: bytes


class Sent(msgspec.Struct, frozen=True):
    """A client's message; a vector that is large is taken out of it and travels as a parcel."""

    message: FromClient | Plain
    parcel: Parcel | None = None


class Missing(msgspec.Struct, frozen=True):
    """The chunks (hex) that are to be sent."""

    digests: list[str]


class Enrol(msgspec.Struct, frozen=True):
    """An invitation's token, and what a certificate is asked with."""

    token: str
    request: Request

    def __repr__(self) -> str:
        return "Enrol(token=...)"


class Enrolled(msgspec.Struct, frozen=True, tag="enrolled"):
    """A certificate, and that of the server, whose key for messages is kept from then on (both DER)."""

    certificate: bytes
    server: bytes


class Answered(msgspec.Struct, frozen=True):
    """What comes back to any call: a body, or why there is none."""

    body: bytes = b""
    failure: Failure | None = None


Next = Idle | Offer | Ask


def encode(body: object) -> bytes:
    """A body as bytes; the same body has the same bytes."""
    return msgspec.msgpack.encode(body)


def decode(data: bytes, type: type[B]) -> B:
    """A body of a type. Raises Refused for bytes that are none."""
    try:
        return msgspec.msgpack.decode(data, type=type)
    except msgspec.DecodeError as wrong:
        raise Refused(f"this is no {getattr(type, '__name__', type)}: {wrong}.") from None
