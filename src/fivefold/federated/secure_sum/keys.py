"""What keys, signatures and digests of a secure sum are made over. Every one names its purpose and the session."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fivefold.federated.refusals import Refused

KEY_BYTES = 32


def bound(purpose: str, *parts: bytes | str) -> bytes:
    """Parts joined so that no two lists of them give the same bytes: each after its length, the purpose first."""
    encoded = [f"fivefold secure sum 1 {purpose}".encode(), *(p.encode() if isinstance(p, str) else p for p in parts)]
    return b"".join(len(part).to_bytes(8) + part for part in encoded)


def digest(purpose: str, *parts: bytes | str) -> bytes:
    """SHA-256 of `bound`."""
    return hashlib.sha256(bound(purpose, *parts)).digest()


def agreed(mine: X25519PrivateKey, theirs: bytes) -> bytes:
    """The secret that two parties share (X25519, RFC 7748). Raises Refused for a key of low order."""
    try:
        return mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise Refused("a public key is not one of X25519.") from None


def derived(secret: bytes, root: bytes, info: bytes) -> bytes:
    """A key of 32 bytes (HKDF-SHA256, RFC 5869), salted with the roster's root: who sees another roster has another."""
    return HKDF(hashes.SHA256(), KEY_BYTES, root, info).derive(secret)


def mask_key(secret: bytes, root: bytes, session: bytes, one: str, other: str) -> bytes:
    """The key of the mask between two clients, the same for both."""
    return derived(secret, root, bound("mask", session, min(one, other), max(one, other)))


def self_mask_key(seed: bytes, root: bytes, session: bytes, client: str) -> bytes:
    """The key of the mask of a client by itself."""
    return derived(seed, root, bound("self", session, client))


def share_key(secret: bytes, root: bytes, session: bytes, sender: str, recipient: str) -> bytes:
    """The key under which one client seals the shares for another: one key for one message."""
    return derived(secret, root, bound("share", session, sender, recipient))


def verify(key: bytes, signature: bytes, signed: bytes, what: str) -> None:
    """Raises Refused, naming `what`, unless the Ed25519 (RFC 8032) signature is that of the key."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise Refused(f"{what}: the signature does not hold.") from None
