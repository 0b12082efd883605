"""Clients with identities, and a sum among them in which any message can be lost or changed on its way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fivefold.federated.refusals import Refused
from fivefold.federated.secure_sum.client import SumClient
from fivefold.federated.secure_sum.messages import FromClient, FromServer
from fivefold.federated.secure_sum.server import Step, Sum, SumServer
from fivefold.federated.secure_sum.terms import Terms, least_modulus_bits

SESSION = hashlib.sha256(b"a round").digest()


def identity(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def identify(name: str, credential: bytes) -> bytes:
    if credential:
        raise Refused(f"the credential of {name!r} is unknown.")
    return identity(name).public_key().public_bytes_raw()


def terms(cohort: int, length: int = 5, **other: Any) -> Terms:
    bits = other.setdefault("bits", 16)
    given = {"session": SESSION, "min_survivors": 2, "modulus_bits": least_modulus_bits(cohort, bits, other.get("max_weight", 1)), **other}
    return Terms(cohort=cohort, length=length, **given)


def client(agreed: Terms, name: str, vector: np.ndarray[Any, Any], **other: Any) -> SumClient:
    return SumClient(agreed, name, vector, sign=identity(name).sign, credential=b"", identify=identify, **other)


def vectors(count: int, agreed: Terms, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    drawn = np.random.default_rng(seed)
    return {f"c{i:04}": drawn.integers(0, agreed.most, agreed.length, np.uint64, endpoint=True) for i in range(count)}


Change = Callable[[Step, str, Any], Any]


class Play:
    """A sum among `count` clients: `server`, `clients`, and `sent`, what each was sent last."""

    def __init__(self, count: int, agreed: Terms | None = None, seed: int = 0, all_of: int | None = None, **other: Any) -> None:
        self.terms = agreed or terms(count, **other)
        self.vectors = vectors(count, self.terms, seed)
        if all_of is not None:
            self.vectors = {name: np.full_like(v, all_of) for name, v in self.vectors.items()}
        self.clients = {name: client(self.terms, name, vector) for name, vector in self.vectors.items()}
        self.server = SumServer(self.terms, list(self.clients), identify)
        self.outbox: dict[str, FromClient] = {name: c.advertise() for name, c in self.clients.items()}
        self.sent: Mapping[str, FromServer] = {}

    def deliver(self, lost: Collection[str] = (), change: Change | None = None) -> Mapping[str, FromServer]:
        """Bring what the clients have to say to the server, and end the step."""
        for name, message in self.outbox.items():
            if name not in lost:
                self.server.accept(message if change is None else change(self.server.step, name, message))
        self.sent = self.server.close()
        self.outbox = {}
        return self.sent

    def answer(self, change: Change | None = None) -> None:
        """Let every client answer what the server has sent it."""
        for name, message in self.sent.items():
            self.outbox[name] = self.clients[name].receive(message if change is None else change(self.server.step, name, message))

    def until(self, step: Step) -> Play:
        """Nothing is lost up to a step, whose messages then lie in the outbox."""
        while self.server.step is not step:
            self.deliver()
            self.answer()
        return self

    def run(self, lost: Mapping[Step, Collection[str]] | None = None) -> Sum:
        """Through to the end; `lost` names whose messages do not arrive at a step."""
        while self.server.step is not Step.OVER:
            self.deliver((lost or {}).get(self.server.step, ()))
            self.answer()
        assert self.server.result is not None
        return self.server.result

    def sum_of(self, names: Collection[str]) -> list[int]:
        return [sum(int(self.vectors[n][i]) for n in names) for i in range(self.terms.length)]
