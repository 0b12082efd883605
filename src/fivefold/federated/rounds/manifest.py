"""The manifest of a round: all that a client agrees to, signed by the server. Whoever is shown another one has another
session, and shares no mask with anybody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fivefold.core.errors import Invalid
from fivefold.federated.refusals import Refused
from fivefold.federated.secure_sum.terms import Terms, least_modulus_bits
from fivefold.federated.wire.parcels import Parcel

VERSION = 1
SECURE, PLAIN, BUCKETS = "secure", "plain", "buckets"
MODES = (SECURE, PLAIN, BUCKETS)
_SIGNED = b"fivefold manifest 1"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same in all rounds of a federation.

    `mode` says what the server learns: `secure`, the sum of all; `buckets`, the sums of `buckets` random groups;
    `plain`, every vector. A vector has `length` values of `bits` bits, times weights up to `max_weight`, unless the
    rule asks for others (`Asked`). A round begins
    once `quorum` clients are there, takes at most `cohort` of them, ends within `seconds`, and needs `min_survivors` in
    each sum. After `attempts` rounds in a row without a result the federation stops. What clients sent is kept of the
    last `replayable` rounds. `corrupt` and `dropout` are per cent of the cohort. `definitions` and `code` are digests
    that clients compare with their own; `settings` is what the clients' work needs to know.
    """

    task: str
    rounds: int
    length: int = 1
    bits: int = 1
    cohort: int
    min_survivors: int
    mode: str = SECURE
    quorum: int = 0
    buckets: int = 1
    max_weight: int = 1
    corrupt: int = 33
    dropout: int = 10
    seconds: float = 600.0
    attempts: int = 5
    replayable: int = 10
    definitions: str = ""
    code: str = ""
    settings: Any = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Invalid(f"mode: {self.mode!r} is not known (accepted: {', '.join(MODES)}).")
        if (self.mode == BUCKETS) != (self.buckets > 1):
            raise Invalid(f"buckets: {self.buckets} do not go with mode {self.mode!r} (two or more are its sign).")
        if self.cohort < self.buckets * self.min_survivors:
            raise Invalid(
                f"cohort: {self.cohort} clients cannot fill {self.buckets} buckets of {self.min_survivors}.",
                hint="Ask more clients, or have fewer buckets.",
            )
        if not 0 < self.seconds <= 30 * 86400 or self.rounds < 1:
            raise Invalid(
                f"seconds, rounds: {self.seconds} and {self.rounds} are not accepted (up to 30 days, from 1)."
            )
        terms(self.manifest(round=1, model=Parcel(0, b""), clients=self.cohort, cohort_digest="", epsilon=None), b"", 0)

    @property
    def needed(self) -> int:
        """How many clients must be there before a round begins."""
        return max(self.quorum, self.buckets * self.min_survivors)

    def manifest(
        self,
        *,
        round: int,
        model: Parcel,
        clients: int,
        cohort_digest: str,
        epsilon: float | None,
        asked: Asked | None = None,
    ) -> Manifest:
        """The manifest of a round with so many clients, who are asked for what the rule asks for, or the plan."""
        fields = {f: getattr(self, f) for f in Plan.__struct_fields__ if f in Manifest.__struct_fields__}
        if asked is None:
            per_sum = max(2, -(-clients // self.buckets))
            fields["modulus_bits"] = least_modulus_bits(per_sum, self.bits, self.max_weight)
        else:
            fields |= {"length": asked.length, "bits": asked.bits, "modulus_bits": asked.bits}
            fields |= {"max_weight": 1, "wraps": True}
            epsilon = asked.epsilon
        fields["clients"] = clients
        return Manifest(**fields, round=round, model=model, cohort_digest=cohort_digest, epsilon=epsilon)


class Asked(msgspec.Struct, frozen=True):
    """What the rule asks for in one round: `length` numbers modulo 2**`bits`, whose sum is modulo that too. `epsilon`
    is the privacy that all rounds up to this one cost together, if it is accounted for."""

    length: int
    bits: int
    epsilon: float | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round: see `Plan`. `model` are the arrays that are broadcast, `clients` how many take part (their names by
    `cohort_digest`), `epsilon` the privacy that all rounds up to this one cost together, if it is accounted for."""

    version: int = VERSION
    task: str
    round: int
    mode: str
    model: Parcel
    definitions: str
    code: str
    settings: Any
    cohort_digest: str
    clients: int
    buckets: int
    length: int
    bits: int
    max_weight: int
    modulus_bits: int
    min_survivors: int
    corrupt: int
    dropout: int
    seconds: float
    epsilon: float | None = None
    wraps: bool = False


class Offer(msgspec.Struct, frozen=True, tag="offer", forbid_unknown_fields=True):
    """A manifest as it was signed, and the bucket of whom it is offered to."""

    manifest: bytes
    signature: bytes
    bucket: int = 0


def offered(manifest: Manifest, sign: Callable[[bytes], bytes]) -> Offer:
    """A manifest, signed."""
    written = msgspec.msgpack.encode(manifest)
    return Offer(written, sign(_SIGNED + written))


def accepted(offer: Offer, key: bytes) -> Manifest:
    """The manifest of an offer that the server's key (32 bytes) has signed. Raises Refused."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(offer.signature, _SIGNED + offer.manifest)
        found = msgspec.msgpack.decode(offer.manifest, type=Manifest)
    except (InvalidSignature, ValueError, msgspec.DecodeError):
        raise Refused("the manifest is not one that the server has signed.") from None
    if found.version != VERSION or found.mode not in MODES or not 0 <= offer.bucket < found.buckets:
        raise Refused(f"a manifest of version {found.version} and mode {found.mode!r} is not understood.")
    return found


def terms(manifest: Manifest, written: bytes, bucket: int) -> Terms:
    """The terms of the sum of a bucket. Raises Invalid for those that cannot be kept."""
    return Terms(
        session=hashlib.sha256(_SIGNED + bucket.to_bytes(4) + written).digest(),
        length=manifest.length,
        bits=manifest.bits,
        modulus_bits=manifest.modulus_bits,
        cohort=max(2, -(-manifest.clients // manifest.buckets)),
        min_survivors=max(2, manifest.min_survivors),
        max_weight=manifest.max_weight,
        corrupt=manifest.corrupt,
        dropout=manifest.dropout,
        wraps=manifest.wraps,
    )


def names_digest(names: list[str]) -> str:
    """A digest of who takes part."""
    return hashlib.sha256(msgspec.msgpack.encode(sorted(names))).hexdigest()
