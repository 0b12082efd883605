"""A round once more, from its log alone: the same sums, and the same state to the last bit.

The log has no secret of a client: of a secure sum it keeps the masked vectors and, instead of the shares by which
the masks were found, all masks together, which is what the server learned anyway by learning the sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fivefold.catalog.federated_rounds import DONE, SERVER, Logged, Rounds
from fivefold.core.errors import Conflict
from fivefold.federated.rounds.bodies import Sent, decode
from fivefold.federated.rounds.coordinator import Rule, read_reference
from fivefold.federated.rounds.gathering import Part, PlainGathering
from fivefold.federated.rounds.live import LiveRound
from fivefold.federated.rounds.manifest import PLAIN, terms
from fivefold.federated.secure_sum.messages import Masked
from fivefold.federated.secure_sum.ring import Ring
from fivefold.federated.secure_sum.server import Step
from fivefold.federated.wire import arrays, parcels
from fivefold.federated.wire.parcels import Parcel
from fivefold.ports.artifacts import ArtifactStore


class Replayed(NamedTuple):
    """The parts of a round, the state after it, and whether that is the one it was recorded with."""

    parts: list[Part]
    after: Parcel
    same: bool


def replay(
    rounds: Rounds, task: str, number: int, rule: Rule, models: ArtifactStore, uploads: ArtifactStore
) -> Replayed:
    """Compute a round that is done again. Raises Conflict for one that is not, NotFound when vectors were removed."""
    row = rounds.get(task, number)
    if row.status != DONE:
        raise Conflict(f"round {number} of {task!r} is {row.status}.", hint="Only a round that is done has a state.")
    live = LiveRound(row, _nobody, uploads, row.opened_at)
    log = rounds.log(task, number)
    parts: list[Part] = []
    for bucket in range(len(row.buckets)):
        mine = [entry for entry in log if entry.bucket == bucket]
        parts += _plain(live, mine) if live.manifest.mode == PLAIN else _secure(live, mine, bucket, uploads)
    before = arrays.decode(parcels.get(models, read_reference(row.before)))
    after = parcels.parcel_of(arrays.encode(rule.step(parts, before)))
    return Replayed(parts, after, after == read_reference(row.after))


def _plain(live: LiveRound, log: list[Logged]) -> list[Part]:
    gathering = live.gatherings[0]
    assert isinstance(gathering, PlainGathering)
    for entry in log:
        if entry.sender != SERVER:
            gathering.accept(live.opened(decode(entry.body, Sent)))
    return gathering.parts()


def _secure(live: LiveRound, log: list[Logged], bucket: int, uploads: ArtifactStore) -> list[Part]:
    ends = [entry for entry in log if entry.sender == SERVER and entry.step == Step.UNMASK and entry.body]
    if not ends:
        return []  # this bucket came to nothing
    agreed = terms(live.manifest, live.offer.manifest, bucket)
    ring = Ring(agreed.modulus_bits)
    total, names = np.zeros(agreed.length, ring.dtype), []
    for entry in log:
        if entry.step == Step.MASKED and entry.sender != SERVER:
            message = live.opened(decode(entry.body, Sent))
            assert isinstance(message, Masked)
            total += ring.unpack(message.data, agreed.length)
            names.append(message.client)
    removed = arrays.decode(parcels.get(uploads, decode(ends[0].body, Parcel)))["removed"]
    return [Part(ring.reduced(total - removed.astype(ring.dtype)), tuple(sorted(names)))]


def _nobody(name: str, credential: bytes) -> bytes:
    raise AssertionError("a replay trusts the log")
