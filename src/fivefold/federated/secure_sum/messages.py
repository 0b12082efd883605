"""The messages of a secure sum, in the order in which they are sent. Clients' names stand in those from clients only;
elsewhere a client is its index in the roster, which is sorted by name."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fivefold.federated.secure_sum.keys import bound, digest

SEAL_BYTES = 12 + 66 + 16
"""A sealed pair of shares: nonce, two shares of 33 bytes, tag."""


class Advert(msgspec.Struct, frozen=True, tag="advert"):
    """Client: two fresh public keys (X25519, 32 bytes each) for this session, under the client's identity.

    `credential` is what makes others know the identity's key: a certificate.
    """

    client: str
    cipher_key: bytes
    mask_key: bytes
    credential: bytes
    signature: bytes

    def signed(self, session: bytes) -> bytes:
        """What the signature is over."""
        return bound("advert", session, self.client, self.cipher_key, self.mask_key)

    def digest(self, session: bytes) -> bytes:
        """What stands for it in the roster."""
        fields = (self.cipher_key, self.mask_key, self.credential, self.signature)
        return digest("advert", session, self.client, *fields)


class Roster(msgspec.Struct, frozen=True, tag="roster"):
    """Server: who takes part. The digests of all adverts (32 bytes each, in the order of names), one's own index, and
    the adverts of one's neighbours by index."""

    digests: bytes
    index: int
    adverts: dict[int, Advert]


class Shares(msgspec.Struct, frozen=True, tag="shares"):
    """Client: for each neighbour, by index, sealed shares of the own two secrets; and a commitment to the seed."""

    client: str
    commitment: bytes
    sealed: dict[int, bytes]


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """Server: the sealed shares from one's neighbours, by their index. Who is not in it has dropped out before."""

    sealed: dict[int, bytes]


class Masked(msgspec.Struct, frozen=True, tag="masked"):
    """Client: the vector under all its masks, packed."""

    client: str
    data: bytes


class Survivors(msgspec.Struct, frozen=True, tag="survivors"):
    """Server: whose masked vector has arrived, as a bitmap over the roster."""

    alive: bytes


class Consent(msgspec.Struct, frozen=True, tag="consent"):
    """Client: a signature over the survivors it was told."""

    client: str
    signature: bytes


class Consents(msgspec.Struct, frozen=True, tag="consents"):
    """Server: the consents of one's neighbours, by index."""

    signatures: dict[int, bytes]


class Unmask(msgspec.Struct, frozen=True, tag="unmask"):
    """Client: for itself and each neighbour that had sent shares, by index, one share (33 bytes).

    It is of the seed of who is alive and of the mask key of who is not: never both.
    """

    client: str
    shares: dict[int, bytes]


FromClient = Advert | Shares | Masked | Consent | Unmask
FromServer = Roster | Delivery | Survivors | Consents


def roster_root(session: bytes, digests: bytes) -> bytes:
    """One digest for the whole roster: it salts every key, so two rosters have no mask in common."""
    return digest("roster", session, digests)


def consent_over(session: bytes, root: bytes, alive: bytes) -> bytes:
    """What a consent signs."""
    return bound("consent", session, root, alive)


def bitmap(alive: Iterable[int], clients: int) -> bytes:
    """Indices as bits, index i as bit i % 8 of byte i // 8."""
    bits = bytearray(-(-clients // 8))
    for index in alive:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


def indices(bits: bytes, clients: int) -> frozenset[int] | None:
    """The indices of a bitmap; None when it has another length, or bits beyond the last client."""
    value = int.from_bytes(bits, "little")
    if len(bits) != -(-clients // 8) or value >> clients:
        return None
    return frozenset(i for i in range(clients) if value >> i & 1)
