"""Envelopes: every message is signed by its sender over what it is for, so that it fits nowhere else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fivefold.federated.refusals import Refused

VERSION = 1
NONCE_BYTES = 16
MOST_BODY = 2 << 20
MOST_BYTES = MOST_BODY + (64 << 10)
"""Of an envelope; gRPC takes up to 4 MiB by default. What is larger travels in chunks."""


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message of `sender` for a `method` of a `task`, at a `step` of a `round`. An answer has the nonce of what it
    answers."""

    version: int
    method: str
    task: str
    round: int
    step: int
    sender: str
    nonce: bytes
    body: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """Of the body: what an identical retry has in common, whatever its nonce."""
        return hashlib.sha256(self.body).hexdigest()

    def signed(self) -> bytes:
        """What the signature is over: everything, the body by its digest."""
        texts = (self.method, self.task, self.sender)
        numbers = (self.version, self.round, self.step)
        parts = [t.encode() for t in texts] + [n.to_bytes(8, signed=True) for n in numbers]
        parts += [self.nonce, hashlib.sha256(self.body).digest()]
        return b"fivefold envelope" + b"".join(len(p).to_bytes(4) + p for p in parts)


def seal(
    sign: Callable[[bytes], bytes],
    method: str,
    sender: str,
    body: bytes = b"",
    *,
    task: str = "",
    round: int = 0,
    step: int = 0,
    nonce: bytes | None = None,
) -> Envelope:
    """An envelope with an Ed25519 signature."""
    nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
    unsigned = Envelope(VERSION, method, task, round, step, sender, nonce, body, b"")
    return msgspec.structs.replace(unsigned, signature=sign(unsigned.signed()))


def write(envelope: Envelope) -> bytes:
    """An envelope as bytes (msgpack)."""
    return msgspec.msgpack.encode(envelope)


def read(data: bytes) -> Envelope:
    """An envelope, not verified yet. Raises Refused for bytes that are none, or too many."""
    if len(data) > MOST_BYTES:
        raise Refused(f"{len(data)} bytes are too many for a message (at most {MOST_BYTES}).")
    try:
        found = msgspec.msgpack.decode(data, type=Envelope)
    except msgspec.DecodeError:
        raise Refused("these bytes are no message.") from None
    if found.version != VERSION or len(found.nonce) != NONCE_BYTES or not -(1 << 62) < found.round < 1 << 62:
        raise Refused(f"a message of version {found.version} is not understood (accepted: {VERSION}).")
    return found


def verify(envelope: Envelope, key: bytes) -> None:
    """Raises Refused unless the sender's key (32 bytes) has signed the envelope."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(envelope.signature, envelope.signed())
    except (InvalidSignature, ValueError, OverflowError):
        raise Refused(f"a message in the name of {envelope.sender!r} is not signed by it.") from None
