"""The server of one secure sum: a state machine. It holds no key; the same messages give the same replies and sum."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fivefold.federated.refusals import Aborted, Refused
from fivefold.federated.secure_sum import keys
from fivefold.federated.secure_sum.client import Identify
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
    bitmap,
    consent_over,
    roster_root,
)
from fivefold.federated.secure_sum.ring import Ring, Vector
from fivefold.federated.secure_sum.shamir import SHARE_BYTES, combine
from fivefold.federated.secure_sum.terms import Terms


class Step(enum.IntEnum):
    """What the server is waiting for."""

    ADVERTS = 1
    SHARES = 2
    MASKED = 3
    CONSENTS = 4
    UNMASK = 5
    OVER = 6


_ASKS: dict[Step, type] = {
    Step.ADVERTS: Advert,
    Step.SHARES: Shares,
    Step.MASKED: Masked,
    Step.CONSENTS: Consent,
    Step.UNMASK: Unmask,
}


class Sum(NamedTuple):
    """The sum modulo R (uint64, below R), and the names of those whose vectors it is of, sorted."""

    values: Vector
    survivors: tuple[str, ...]


class SumServer:
    """The server's part. `accept` takes messages of the step at hand in any order; `close` ends the step with whoever
    has answered, and gives the next message for each of them. After the last step there is `result`."""

    def __init__(self, terms: Terms, cohort: Collection[str], identify: Identify) -> None:
        self.terms, self._identify = terms, identify
        self.step = Step.ADVERTS
        self.result: Sum | None = None
        self.removed: Vector | None = None
        """All masks together, modulo R: what a replay takes away instead of asking for shares again."""
        self._waiting = set(cohort)
        self._got: dict[str, FromClient] = {}
        self._names: list[str] = []
        self._index: dict[str, int] = {}
        self._ring = Ring(terms.modulus_bits)
        self._total = np.zeros(terms.length, self._ring.dtype)
        self._identities: dict[str, bytes] = {}

    @property
    def waiting(self) -> frozenset[str]:
        """Who has not answered yet at this step; when nobody is left, close it."""
        return frozenset(self._waiting)

    def check(self, message: FromClient) -> None:
        """Raises Refused for a message that cannot be accepted now; changes nothing."""
        wanted, who = _ASKS.get(self.step), message.client
        if wanted is None or not isinstance(message, wanted):
            raise Refused(f"{who!r} sent {type(message).__name__} while the step is {self.step.name.lower()}.")
        if who not in self._waiting:
            why = "has answered already" if who in self._got else "does not take part in this step"
            raise Refused(f"{who!r} {why}.")
        match message:
            case Advert():
                if len(message.cipher_key) != keys.KEY_BYTES or len(message.mask_key) != keys.KEY_BYTES:
                    raise Refused(f"the keys of {who!r} are not of {keys.KEY_BYTES} bytes.")
                identity = self._identify(who, message.credential)
                keys.verify(identity, message.signature, message.signed(self.terms.session), f"the keys of {who!r}")
            case Shares():
                sizes = {len(box) for box in message.sealed.values()}
                expected = set(self._graph.neighbours(self._index[who]))
                if set(message.sealed) != expected or sizes - {SEAL_BYTES} or len(message.commitment) != 32:
                    raise Refused(f"the shares of {who!r} are not one sealed pair for each neighbour.")
            case Masked():
                expected_size = self._ring.packed_size(self.terms.length)
                if len(message.data) != expected_size:
                    raise Refused(f"the vector of {who!r} has {len(message.data)} bytes, not {expected_size}.")
            case Consent():
                keys.verify(self._identities[who], message.signature, self._consent_over, f"the consent of {who!r}")
            case Unmask():
                known = {i for i in self._graph.holders(self._index[who]) if i in self._shared}
                sizes = {len(share) for share in message.shares.values()}
                if not set(message.shares) <= known or sizes - {SHARE_BYTES}:
                    raise Refused(f"{who!r} gave shares of others than its neighbours, or none of {SHARE_BYTES} bytes.")

    def accept(self, message: FromClient) -> None:
        """Take a message in. Raises Refused when `check` does; a second message of a client in a step is refused."""
        self.check(message)
        who = message.client
        match message:
            case Advert():
                self._identities[who] = self._identify(who, message.credential)
            case Masked():
                # summed as it comes: a thousand vectors never lie in memory
                self._total += self._ring.unpack(message.data, self.terms.length)
                message = Masked(who, b"")
        self._waiting.remove(who)
        self._got[who] = message

    def close(self) -> dict[str, FromServer]:
        """End the step. Raises Aborted when too few have answered for a sum that is exact and safe."""
        closing: dict[Step, Callable[[dict[str, FromClient]], dict[str, FromServer]]] = {
            Step.ADVERTS: self._end_adverts,
            Step.SHARES: self._end_shares,
            Step.MASKED: self._end_masked,
            Step.CONSENTS: self._end_consents,
            Step.UNMASK: self._end_unmask,
        }
        if self.step not in closing:
            raise Refused("the sum is over.")
        got, self._got, step = self._got, {}, self.step
        self.step = Step.OVER
        try:
            replies = closing[step](got)
        except Aborted:
            self._waiting = set()
            raise
        self.step = Step(step + 1)
        self._waiting = set(replies)
        return replies

    def _end_adverts(self, got: Mapping[str, FromClient]) -> dict[str, FromServer]:
        self._need(len(got), self.terms.min_survivors, "sent keys")
        adverts = {name: advert for name, advert in got.items() if isinstance(advert, Advert)}
        self._names = sorted(adverts)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._adverts = [adverts[name] for name in self._names]
        session = self.terms.session
        digests = b"".join(a.digest(session) for a in self._adverts)
        self._root = roster_root(session, digests)
        self._graph = Graph(len(self._names), self.terms.corrupt, self.terms.dropout, session, self._root)
        return {
            name: Roster(digests, i, {j: self._adverts[j] for j in self._graph.neighbours(i)})
            for name, i in self._index.items()
        }

    def _end_shares(self, got: Mapping[str, FromClient]) -> dict[str, FromServer]:
        self._need(len(got), self._least, "sent shares")
        shares = {self._index[name]: m for name, m in got.items() if isinstance(m, Shares)}
        self._shared = frozenset(shares)
        self._commitments = {i: m.commitment for i, m in shares.items()}
        return {
            self._names[i]: Delivery({j: shares[j].sealed[i] for j in self._graph.neighbours(i) if j in shares})
            for i in sorted(shares)
        }

    def _end_masked(self, got: Mapping[str, FromClient]) -> dict[str, FromServer]:
        self._need(len(got), self._least, "sent masked vectors")
        self._alive = frozenset(self._index[name] for name in got)
        bits = bitmap(self._alive, len(self._names))
        self._consent_over = consent_over(self.terms.session, self._root, bits)
        return {name: Survivors(bits) for name in sorted(got)}

    def _end_consents(self, got: Mapping[str, FromClient]) -> dict[str, FromServer]:
        self._need(len(got), self._graph.threshold if self._graph.complete else 2, "consented")
        signed = {self._index[name]: m.signature for name, m in got.items() if isinstance(m, Consent)}
        return {
            name: Consents({j: signed[j] for j in self._graph.neighbours(self._index[name]) if j in signed})
            for name in sorted(got)
        }

    def _end_unmask(self, got: Mapping[str, FromClient]) -> dict[str, FromServer]:
        given: dict[int, dict[int, bytes]] = {i: {} for i in self._shared}
        for name, message in got.items():
            if isinstance(message, Unmask):
                for index, share in message.shares.items():
                    given[index][self._index[name] + 1] = share
        under_masks = self._total.copy()
        masks = Masks(self._total)
        for index in sorted(self._shared):
            if index in self._alive:
                self._take_self_mask(masks, index, given[index])
            else:
                self._take_mutual_masks(masks, index, given[index])
        self.removed = self._ring.reduced(under_masks - self._total)
        self.result = Sum(self._ring.reduced(self._total), tuple(self._names[i] for i in sorted(self._alive)))
        return {}

    def _take_self_mask(self, masks: Masks, index: int, shares: Mapping[int, bytes]) -> None:
        name, session = self._names[index], self.terms.session
        commitment = self._commitments[index]
        seed = self._recovered(name, shares, lambda s: keys.digest("seed", session, name, s) == commitment)
        masks.subtract(keys.self_mask_key(seed, self._root, session, name))

    def _take_mutual_masks(self, masks: Masks, index: int, shares: Mapping[int, bytes]) -> None:
        """Who has dropped out left masks in the vectors of its neighbours."""
        beside = [j for j in self._graph.neighbours(index) if j in self._alive]
        if not beside:
            return
        gone = self._adverts[index]
        key = self._recovered(gone.client, shares, lambda s: _public(s) == gone.mask_key)
        private = X25519PrivateKey.from_private_bytes(key)
        for j in beside:
            peer = self._adverts[j]
            agreed = keys.agreed(private, peer.mask_key)
            mask = keys.mask_key(agreed, self._root, self.terms.session, peer.client, gone.client)
            (masks.subtract if peer.client < gone.client else masks.add)(mask)

    def _recovered(self, name: str, shares: Mapping[int, bytes], right: Callable[[bytes], bool]) -> bytes:
        """A secret from its shares; one made-up share is left out, as long as there are enough without it."""
        threshold = self._graph.threshold
        for without in (0, *sorted(shares)):
            rest = {place: share for place, share in shares.items() if place != without}
            if len(rest) < threshold:
                break
            try:
                secret = combine(rest, threshold)
            except Refused:
                continue
            if right(secret):
                return secret
        raise Aborted(
            f"the mask of {name!r} cannot be taken away: of {len(shares)} shares {threshold} good ones are needed.",
            hint="Try another round; when it happens again, one of the clients cheats.",
        )

    @property
    def _least(self) -> int:
        return max(self.terms.min_survivors, self._graph.threshold if self._graph.complete else 0)

    def _need(self, have: int, least: int, what: str) -> None:
        if have < least:
            raise Aborted(f"{have} clients {what}, and at least {least} must.", hint="Try another round.")


def _public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
