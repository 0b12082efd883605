"""One sum of a round, whichever way it is made: by the secure protocol, or by a server that is trusted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from fivefold.federated.refusals import Aborted, Refused
from fivefold.federated.rounds.bodies import Plain
from fivefold.federated.secure_sum.client import Identify
from fivefold.federated.secure_sum.messages import FromClient, FromServer, Masked
from fivefold.federated.secure_sum.ring import Ring, Vector
from fivefold.federated.secure_sum.server import Step, SumServer
from fivefold.federated.secure_sum.terms import Terms


class Part(NamedTuple):
    """A vector (uint64), and whose sum it is."""

    vector: Vector
    clients: tuple[str, ...]


class Gathering(Protocol):
    """What collects the messages of some clients, step by step (numbered from 1), until it is `over`."""

    @property
    def step(self) -> int: ...

    @property
    def over(self) -> bool: ...

    @property
    def waiting(self) -> frozenset[str]:
        """Who has not answered yet at this step."""

    def check(self, message: FromClient | Plain) -> None:
        """Raises Refused for what cannot be taken now."""

    def accept(self, message: FromClient | Plain) -> None:
        """Take a message."""

    def close(self) -> Mapping[str, FromServer]:
        """End the step; gives what to say to whom. Raises Aborted."""

    def parts(self) -> list[Part]:
        """What came out."""


class SecureGathering:
    """By the secure sum: one part, the sum of all."""

    def __init__(self, terms: Terms, clients: Collection[str], identify: Identify) -> None:
        self._server = SumServer(terms, clients, identify)

    @property
    def step(self) -> int:
        return int(self._server.step)

    @property
    def over(self) -> bool:
        return self._server.step is Step.OVER

    @property
    def waiting(self) -> frozenset[str]:
        return self._server.waiting

    def check(self, message: FromClient | Plain) -> None:
        if isinstance(message, Plain):
            raise Refused(f"{message.client!r} sent its vector in the clear: it was not read.")
        self._server.check(message)

    def accept(self, message: FromClient | Plain) -> None:
        assert not isinstance(message, Plain)
        self._server.accept(message)

    def close(self) -> Mapping[str, FromServer]:
        return self._server.close()

    @property
    def removed(self) -> Vector | None:
        """All masks together, once they are taken away."""
        return self._server.removed

    def parts(self) -> list[Part]:
        result = self._server.result
        return [] if result is None else [Part(result.values, result.survivors)]


class PlainGathering:
    """By a server that is trusted: one part for each client, in one step."""

    def __init__(self, terms: Terms, clients: Collection[str], min_survivors: int) -> None:
        self._terms, self._least, self._ring = terms, min_survivors, Ring(terms.modulus_bits)
        self._waiting, self._got = set(clients), dict[str, Vector]()
        self.step, self.over = 1, False

    @property
    def waiting(self) -> frozenset[str]:
        return frozenset(self._waiting)

    def check(self, message: FromClient | Plain) -> None:
        self._read(message)

    def accept(self, message: FromClient | Plain) -> None:
        self._got[message.client] = self._read(message)
        self._waiting.discard(message.client)

    def close(self) -> Mapping[str, FromServer]:
        self.step, self.over, self._waiting = 2, True, set()
        if len(self._got) < self._least:
            raise Aborted(f"{len(self._got)} clients sent vectors, and at least {self._least} must.")
        return {}

    def parts(self) -> list[Part]:
        return [Part(self._got[name], (name,)) for name in sorted(self._got)]

    def _read(self, message: FromClient | Plain) -> Vector:
        if not isinstance(message, Plain):
            raise Refused(f"{message.client!r} sent {type(message).__name__} where a vector is wanted.")
        if message.client not in self._waiting:
            raise Refused(f"{message.client!r} does not take part, or has answered already.")
        if len(message.data) != self._ring.packed_size(self._terms.length):
            raise Refused(f"the vector of {message.client!r} has {len(message.data)} bytes.")
        values = self._ring.reduced(self._ring.unpack(message.data, self._terms.length))
        if int(values.max()) > self._terms.most:
            raise Refused(f"the vector of {message.client!r} has values above {self._terms.most}.")
        return values


def vector_bytes(terms: Terms) -> int:
    """How many bytes a packed vector of these terms has."""
    return Ring(terms.modulus_bits).packed_size(terms.length)


def without_vector(message: FromClient | Plain) -> tuple[FromClient | Plain, bytes]:
    """A message and the vector in it, apart."""
    match message:
        case Masked(client, data):
            return Masked(client, b""), data
        case Plain(client, data):
            return Plain(client, b""), data
    return message, b""


def with_vector(message: FromClient | Plain, data: bytes) -> FromClient | Plain:
    """And together again. Raises Refused for a message that has none."""
    match message:
        case Masked(client, b""):
            return Masked(client, data)
        case Plain(client, b""):
            return Plain(client, data)
    raise Refused("a parcel came with a message that has no vector.")
