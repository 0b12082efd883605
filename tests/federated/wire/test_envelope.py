from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fivefold.federated.refusals import Refused
from fivefold.federated.wire.envelope import MOST_BYTES, read, seal, verify, write

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()


def test_an_envelope_comes_back_and_is_its_senders() -> None:
    sent = seal(KEY.sign, "answer", "ada", b"body", task="counts", round=3, step=2)
    found = read(write(sent))
    assert found == sent
    verify(found, PUBLIC)


@pytest.mark.parametrize("change", [
    {"method": "next"}, {"task": "other"}, {"round": 4}, {"step": 1}, {"sender": "bob"}, {"nonce": bytes(16)},
    {"body": b"bod"}, {"signature": bytes(64)}, {"signature": b""}, {"method": "answera", "task": "ounts"}])
def test_a_signature_fits_nothing_else(change: dict[str, Any]) -> None:
    sent = seal(KEY.sign, "answer", "ada", b"body", task="counts", round=3, step=2)
    with pytest.raises(Refused, match="not signed by it"):
        verify(msgspec.structs.replace(sent, **change), PUBLIC)


def test_the_same_body_has_the_same_digest_under_another_nonce() -> None:
    one, other = (seal(KEY.sign, "answer", "ada", b"body") for _ in range(2))
    assert one.nonce != other.nonce
    assert one.digest == other.digest


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x99" + bytes(9), bytes(MOST_BYTES + 1)])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        read(data)


def test_another_version_is_refused() -> None:
    sent = msgspec.structs.replace(seal(KEY.sign, "next", "ada"), version=2)
    with pytest.raises(Refused, match="version 2 is not understood"):
        read(write(sent))
