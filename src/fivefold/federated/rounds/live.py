"""A round in hand: the gatherings of its buckets, rebuilt from the log at any time."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fivefold.catalog.federated_rounds import SERVER, Logged, Round
from fivefold.federated.refusals import Aborted
from fivefold.federated.rounds.bodies import Ask, Plain, Sent, decode
from fivefold.federated.rounds.gathering import (
    Gathering,
    PlainGathering,
    SecureGathering,
    vector_bytes,
    with_vector,
)
from fivefold.federated.rounds.manifest import PLAIN, Manifest, Offer, terms
from fivefold.federated.secure_sum.client import Identify
from fivefold.federated.secure_sum.messages import FromClient
from fivefold.federated.secure_sum.server import Step
from fivefold.federated.wire import parcels
from fivefold.ports.artifacts import ArtifactStore

SECURE_ENDS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""When each step ends at the latest, as a share of the round: there is one deadline, and all else follows from it. The
first step has the clients' work in it."""

PLAIN_ENDS = (1.0,)
LEAST_SHARE = 0.05
"""But a step has at least so much of the round from when it began, or from when the server came back: what nobody was
there to answer is no dropout."""

SECRET_STEPS = (int(Step.SHARES), int(Step.UNMASK))
"""What clients send at these steps is erased when a round has ended."""


class LiveRound:
    """A round that is open, taken up at `now` (microseconds). `identify` knows clients by name and certificate as of
    when the round was opened."""

    def __init__(self, row: Round, identify: Identify, uploads: ArtifactStore, now: int) -> None:
        self.row, self._uploads = row, uploads
        self._began = [now] * len(row.buckets)
        self.offer = decode(row.offer, Offer)
        self.manifest = msgspec.msgpack.decode(self.offer.manifest, type=Manifest)
        self.bucket_of = {name: b for b, names in enumerate(row.buckets) for name in names}
        self.failed: dict[int, str] = {}
        self._asks: dict[str, Ask] = {}
        self._ends = PLAIN_ENDS if self.manifest.mode == PLAIN else SECURE_ENDS
        self.gatherings: list[Gathering] = []
        for bucket, names in enumerate(row.buckets):
            agreed = terms(self.manifest, self.offer.manifest, bucket)
            self.gatherings.append(
                PlainGathering(agreed, names, self.manifest.min_survivors)
                if self.manifest.mode == PLAIN
                else SecureGathering(agreed, names, identify)
            )
        self.vector_bytes = vector_bytes(terms(self.manifest, self.offer.manifest, 0))

    def replay(self, log: Iterable[Logged]) -> None:
        """Take in again what was taken in before; the same messages lead to the same state."""
        for entry in log:
            if entry.sender == SERVER:
                self.end_step(entry.bucket, self._began[entry.bucket])
            else:
                self.gatherings[entry.bucket].accept(self.opened(decode(entry.body, Sent)))

    def next(self, client: str) -> Offer | Ask | None:
        """What a client is to do now."""
        bucket = self.bucket_of.get(client)
        if bucket is None or bucket in self.failed or client not in self.gatherings[bucket].waiting:
            return None
        if self.gatherings[bucket].step == 1:
            return msgspec.structs.replace(self.offer, bucket=bucket)
        return self._asks[client]

    def opened(self, sent: Sent) -> FromClient | Plain:
        """A message with its vector. Raises NotFound while chunks of it are missing."""
        if sent.parcel is None:
            return sent.message
        sent.parcel.require(self.vector_bytes)
        return with_vector(sent.message, parcels.get(self._uploads, sent.parcel))

    def due(self, bucket: int, now: int) -> bool:
        """Whether a step has all its answers, or its time is over (microseconds)."""
        gathering = self.gatherings[bucket]
        if gathering.over or bucket in self.failed:
            return False
        length = self.row.deadline - self.row.opened_at
        end = self.row.opened_at + length * self._ends[gathering.step - 1]
        return not gathering.waiting or now >= max(end, self._began[bucket] + length * LEAST_SHARE)

    def end_step(self, bucket: int, now: int) -> None:
        """End a step of a bucket with what has come in; the next one begins now."""
        self._began[bucket] = now
        try:
            replies = self.gatherings[bucket].close()
        except Aborted as e:
            self.failed[bucket] = str(e)
            return
        step = self.gatherings[bucket].step
        self._asks |= {name: Ask(self.row.round, step, message) for name, message in replies.items()}

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return all(g.over or b in self.failed for b, g in enumerate(self.gatherings))
