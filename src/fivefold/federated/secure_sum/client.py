"""One client in one secure sum: a state machine. Messages go in and come out; it reads no clock and sends nothing."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from typing import NoReturn, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fivefold.federated.refusals import Refused
from fivefold.federated.secure_sum import keys
from fivefold.federated.secure_sum.graph import Graph
from fivefold.federated.secure_sum.masks import Masks
from fivefold.federated.secure_sum.messages import (
    SEAL_BYTES,
    Advert,
    Consent,
    Consents,
    Delivery,
    FromClient,
    FromServer,
    Masked,
    Roster,
    Shares,
    Survivors,
    Unmask,
    consent_over,
    indices,
    roster_root,
)
from fivefold.federated.secure_sum.ring import Ring, Vector
from fivefold.federated.secure_sum.shamir import SHARE_BYTES, split
from fivefold.federated.secure_sum.terms import Terms

_NONCE_BYTES = 12

Identify = Callable[[str, bytes], bytes]
"""The identity key (Ed25519, 32 bytes) of a name with its credential; raises Refused for one not to be trusted."""


M = TypeVar("M", bound=FromClient)


class Stage(enum.IntEnum):
    """What a client has done last."""

    NOTHING = 0
    ADVERTISED = 1
    SHARED = 2
    MASKED = 3
    CONSENTED = 4
    OVER = 5


class SumClient:
    """The part of `me`, whose vector (uint64, as the terms say) enters the sum.

    Every method is one step and can be taken once, in order; what comes out is to be sent, and sent again unchanged
    when it got lost. Each raises Refused as soon as the server, or what it passes on, breaks the protocol; the client
    then forgets its secrets and takes no further step. `sign` makes Ed25519 signatures under the identity that
    `credential` proves; `random` gives so many random bytes.
    """

    def __init__(
        self,
        terms: Terms,
        me: str,
        vector: Vector,
        *,
        sign: Callable[[bytes], bytes],
        credential: bytes,
        identify: Identify,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._terms, self._me, self._sign, self._random = terms, me, sign, random
        self._credential, self._identify = credential, identify
        self._ring = Ring(terms.modulus_bits)
        if len(vector) != terms.length:
            raise Refused(f"the vector has {len(vector)} values where the terms say {terms.length}.")
        self._words: Vector | None = self._ring.words(vector, terms.most)
        self.stage = Stage.NOTHING
        self._secrets: dict[str, bytes] = {}
        self._opening: dict[int, bytes] = {}
        self._held: dict[int, tuple[bytes, bytes]] = {}
        self._peers: dict[int, Advert] = {}
        self._identities: dict[int, bytes] = {}
        self._delivered: frozenset[int] = frozenset()

    def receive(self, message: FromServer) -> FromClient:
        """The step that a message of the server asks for."""
        match message:
            case Roster():
                return self.share(message)
            case Delivery():
                return self.mask(message)
            case Survivors():
                return self.consent(message)
            case Consents():
                return self.unmask(message)

    def advertise(self) -> Advert:
        """Make two pairs of keys, for this session only."""
        self._enter(Stage.NOTHING)
        self._secrets["cipher"], self._secrets["mask"] = self._random(keys.KEY_BYTES), self._random(keys.KEY_BYTES)
        cipher, mask = (
            X25519PrivateKey.from_private_bytes(self._secrets[name]).public_key().public_bytes_raw()
            for name in ("cipher", "mask")
        )
        unsigned = Advert(self._me, cipher, mask, self._credential, b"")
        self._advert = Advert(
            self._me, cipher, mask, self._credential, self._sign(unsigned.signed(self._terms.session))
        )
        return self._left(Stage.ADVERTISED, self._advert)

    def share(self, roster: Roster) -> Shares:
        """Check who takes part, and give each neighbour shares of the seed of one's own mask and of one's mask key."""
        self._enter(Stage.ADVERTISED)
        self._check_roster(roster)
        session, seed = self._terms.session, self._random(keys.KEY_BYTES)
        self._secrets["seed"] = seed
        threshold, places = self._graph.threshold, [i + 1 for i in self._graph.holders(self._index)]
        both = zip(
            split(seed, threshold, places, self._random),
            split(self._secrets["mask"], threshold, places, self._random),
            strict=True,
        )
        by_index = dict(zip(self._graph.holders(self._index), both, strict=True))
        self._held[self._index] = by_index[self._index]
        cipher = X25519PrivateKey.from_private_bytes(self._secrets["cipher"])
        sealed = {}
        for index, peer in self._peers.items():
            agreed = self._agreed(cipher, peer.cipher_key)
            key = keys.share_key(agreed, self._root, session, self._me, peer.client)
            # the key to open theirs comes of the same agreement; it is the dearest part, so it is made once
            self._opening[index] = keys.share_key(agreed, self._root, session, peer.client, self._me)
            nonce = self._random(_NONCE_BYTES)
            box = ChaCha20Poly1305(key).encrypt(nonce, b"".join(by_index[index]), self._root)
            sealed[index] = nonce + box
        commitment = keys.digest("seed", session, self._me, seed)
        return self._left(Stage.SHARED, Shares(self._me, commitment, sealed))

    def mask(self, delivery: Delivery) -> Masked:
        """Put the vector under the own mask and under one for each neighbour whose shares arrived."""
        self._enter(Stage.SHARED)
        strangers = set(delivery.sealed) - set(self._peers)
        if strangers:
            self._refuse(f"shares came from {sorted(strangers)[:5]}, who are not neighbours.")
        if len(delivery.sealed) + 1 < self._graph.threshold:
            self._refuse(
                f"shares came from {len(delivery.sealed)} neighbours, and {self._graph.threshold - 1} are needed."
            )
        words, session = self._words, self._terms.session
        assert words is not None
        masks, private = Masks(words), X25519PrivateKey.from_private_bytes(self._secrets["mask"])
        for index, box in delivery.sealed.items():
            peer = self._peers[index]
            opened = self._open(index, box)
            if opened is not None:
                self._held[index] = opened
            key = keys.mask_key(self._agreed(private, peer.mask_key), self._root, session, self._me, peer.client)
            (masks.add if self._me < peer.client else masks.subtract)(key)
        masks.add(keys.self_mask_key(self._secrets["seed"], self._root, session, self._me))
        self._delivered = frozenset(delivery.sealed)
        # the rest is done with shares alone
        self._words = None
        self._secrets.clear()
        self._opening.clear()
        return self._left(Stage.MASKED, Masked(self._me, self._ring.pack(words)))

    def consent(self, survivors: Survivors) -> Consent:
        """Sign who is said to be alive, so that nobody can be shown another set."""
        self._enter(Stage.MASKED)
        alive = indices(survivors.alive, self._graph.clients)
        if alive is None or self._index not in alive:
            self._refuse("the survivors are not a bitmap of the roster in which I am alive.")
        least = max(self._terms.min_survivors, self._graph.threshold if self._graph.complete else 0)
        if len(alive) < least:
            self._refuse(f"{len(alive)} clients are in the sum, and at least {least} must be.")
        if not alive & set(self._peers) <= self._delivered:
            self._refuse("somebody is said to be alive who had not sent any shares.")
        self._alive, self._signed = alive, consent_over(self._terms.session, self._root, survivors.alive)
        return self._left(Stage.CONSENTED, Consent(self._me, self._sign(self._signed)))

    def unmask(self, consents: Consents) -> Unmask:
        """Give one share for each neighbour, once enough of them have consented to the same survivors."""
        self._enter(Stage.CONSENTED)
        strangers = set(consents.signatures) - (self._alive & set(self._peers))
        if strangers:
            self._refuse(f"consents came in the names of {sorted(strangers)[:5]}, who are not neighbours alive.")
        for index, signature in consents.signatures.items():
            try:
                keys.verify(self._identities[index], signature, self._signed, f"the consent of {index}")
            except Refused as e:
                self._refuse(e.message)
        # with its own
        if len(consents.signatures) + 1 < self._graph.threshold:
            self._refuse(f"{len(consents.signatures)} neighbours consent, {self._graph.threshold - 1} are needed.")
        shares = {i: pair[0 if i in self._alive else 1] for i, pair in self._held.items()}
        self._forget()
        return self._left(Stage.OVER, Unmask(self._me, shares))

    def _check_roster(self, roster: Roster) -> None:
        session = self._terms.session
        digests = [roster.digests[i : i + 32] for i in range(0, len(roster.digests), 32)]
        count, least = len(digests), max(self._terms.min_survivors, 2)
        if len(roster.digests) % 32 or not least <= count <= self._terms.cohort:
            self._refuse(f"{count} clients take part (accepted: {least} to {self._terms.cohort}).")
        if len(set(digests)) != count:
            self._refuse("somebody is in the roster twice.")
        if not 0 <= roster.index < count or digests[roster.index] != self._advert.digest(session):
            self._refuse("my own keys are not in the roster as I sent them.")
        self._root, self._index = roster_root(session, roster.digests), roster.index
        self._graph = Graph(count, self._terms.corrupt, self._terms.dropout, session, self._root)
        if set(roster.adverts) != set(self._graph.neighbours(self._index)):
            self._refuse("the adverts are not those of my neighbours.")
        for index, advert in roster.adverts.items():
            if advert.digest(session) != digests[index]:
                self._refuse(f"the keys of {advert.client!r} are not those in the roster.")
            try:
                self._identities[index] = self._identify(advert.client, advert.credential)
                keys.verify(
                    self._identities[index], advert.signature, advert.signed(session), f"keys of {advert.client!r}"
                )
            except Refused as e:
                self._refuse(e.message)
        everybody = {**roster.adverts, self._index: self._advert}
        names = [everybody[i].client for i in sorted(everybody)]
        public = [key for a in everybody.values() for key in (a.cipher_key, a.mask_key)]
        if names != sorted(set(names)) or len(set(public)) != len(public):
            self._refuse("two clients of the roster have one name or one key, or stand out of order.")
        self._peers = dict(sorted(roster.adverts.items()))

    def _open(self, index: int, box: bytes) -> tuple[bytes, bytes] | None:
        """The shares of a neighbour; None for what it did not seal rightly, which is its own loss and not the sum's."""
        if len(box) != SEAL_BYTES:
            return None
        cipher = ChaCha20Poly1305(self._opening[index])
        try:
            plain = cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], self._root)
        except InvalidTag:
            return None
        return plain[:SHARE_BYTES], plain[SHARE_BYTES:]

    def _agreed(self, mine: X25519PrivateKey, theirs: bytes) -> bytes:
        try:
            return keys.agreed(mine, theirs)
        except Refused as e:
            self._refuse(e.message)

    def _enter(self, needed: Stage) -> None:
        if self.stage is not needed:
            self._refuse(f"this step was taken already, or is not due: the last was {self.stage.name.lower()}.")
        # a step that fails half way is never tried again
        self.stage = Stage.OVER

    def _left(self, reached: Stage, message: M) -> M:
        self.stage = reached
        return message

    def _refuse(self, why: str) -> NoReturn:
        self.stage = Stage.OVER
        self._forget()
        raise Refused(f"{self._me}: {why}")

    def _forget(self) -> None:
        self._secrets.clear()
        self._opening.clear()
        self._held.clear()
        self._words = None
