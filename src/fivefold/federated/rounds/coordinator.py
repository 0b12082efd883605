"""The coordinator of one federation. Whatever it decides is in the catalog before anybody hears of it: killed at any
point and begun again, it goes on where it was."""

from __future__ import annotations

import random as random_module
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from fivefold.catalog.federated_rounds import ABORTED, DONE, OPEN, SERVER, Logged, Round, Rounds
from fivefold.core.errors import Conflict, FivefoldError, NotFound, Unavailable
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds.bodies import Idle, Missing, Next, Sent, decode, encode
from fivefold.federated.rounds.gathering import Part, SecureGathering
from fivefold.federated.rounds.live import SECRET_STEPS, LiveRound
from fivefold.federated.rounds.manifest import BUCKETS, PLAIN, Asked, Plan, names_digest, offered
from fivefold.federated.secure_sum.server import Step
from fivefold.federated.wire import arrays, parcels
from fivefold.federated.wire.arrays import Arrays
from fivefold.federated.wire.parcels import Parcel
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.blobs import put_blob, read_blob

SECOND = 1_000_000
PRESENT = 15 * SECOND
"""A client that asked within so long is there, and may be chosen for a round."""


class Rule(Protocol):
    """What becomes of the sums: the strategy. Its state is arrays, so that it survives the coordinator."""

    def begin(self) -> Arrays:
        """The state before the first round."""

    def broadcast(self, state: Arrays) -> Arrays:
        """What clients are given to work with."""

    def asks(self, state: Arrays) -> Asked | None:
        """What the next round asks; None for what the plan says."""

    def release(self, state: Arrays, round: int) -> None:
        """Called before the sum of a round can be known, again after a restart. Raises FivefoldError to prevent it."""

    def step(self, parts: Sequence[Part], state: Arrays) -> Arrays:
        """The state after a round: each part is a vector and whose sum it is. Raises FivefoldError to discard it."""

    def done(self, state: Arrays) -> bool:
        """Whether this state needs no more rounds, however many the plan would allow."""

    def epsilon(self, rounds: int) -> float | None:
        """The privacy that so many rounds cost together; None where none is accounted for."""


class Coordinator:
    """The rounds of a plan, one after the other.

    `members` gives who may take part; `identify` the key of a name with its certificate, as of a time in seconds.
    Models and the state lie in `models`, what clients sent in `uploads`. Safe to share between threads.
    """

    def __init__(
        self,
        plan: Plan,
        rule: Rule,
        *,
        rounds: Rounds,
        members: Callable[[], Collection[str]],
        models: ArtifactStore,
        uploads: ArtifactStore,
        sign: Callable[[bytes], bytes],
        identify: Callable[[str, bytes, float], bytes],
        clock: Callable[[], int],
        random: random_module.Random | None = None,
        poll: float = 1.0,
    ) -> None:
        self.plan, self._rule, self._rounds, self._members = plan, rule, rounds, members
        self._models, self._uploads, self._sign, self._identify = models, uploads, sign, identify
        # who is chosen must not be foreseen: the system's generator, unless a simulation wants its own
        self._clock, self._random, self._poll = clock, random or random_module.SystemRandom(), poll
        self._lock = threading.RLock()
        self._seen: dict[str, int] = {}
        self._told: set[str] = set()
        self._announced: dict[str, set[str]] = {}
        self._live: LiveRound | None = None
        self._ended: tuple[int, int, int] | None = None
        self._known: tuple[Any, Arrays, bool] | None = None
        for row in rounds.all(plan.task, status=OPEN):
            self._take_up(row)

    @property
    def over(self) -> bool:
        """Whether all rounds are done, or too many in a row came to nothing."""
        with self._lock:
            done, failed, _ = self._history()
            if self._live is not None:
                return False
            return done >= self.plan.rounds or failed >= self.plan.attempts or self._current()[1]

    @property
    def everybody_knows(self) -> bool:
        """Whether all clients that are there have been told that it is over."""
        with self._lock:
            return self.over and self._present() <= self._told

    @property
    def state(self) -> Arrays:
        """The state after the last round that is done."""
        with self._lock:
            return self._current()[0]

    def next(self, client: str) -> Next:
        """What a client is to do now."""
        with self._lock:
            self._seen[client] = self._clock()
            self.tick()
            found = None if self._live is None else self._live.next(client)
            if found is not None:
                return found
            if self.over:
                self._told.add(client)
            return Idle(self._poll / (1 if self._live is None else 5), self.over)

    def announce(self, client: str, round: int, step: int, parcel: Parcel) -> Missing:
        """Which chunks of a vector are still to come. Raises Refused for more bytes than the vector has."""
        with self._lock:
            if self._taken(client, round, step) is not None:
                return Missing([])  # it was answered, and the client does not know yet
            self.tick()
            live = self._require(client, round, step)
            parcel.require(live.vector_bytes)
            wanted = parcels.missing(self._uploads, parcel)
            self._announced[client] = set(wanted)
        return Missing(wanted)

    def put(self, client: str, chunk: bytes) -> None:
        """Keep a chunk that was announced. Raises Unavailable for any other: announce it again, to whom may be new."""
        digest = parcels.parcel_of(chunk).chunks[0] if chunk else ""
        if digest not in self._announced.get(client, ()) or len(chunk) > parcels.CHUNK:
            raise Unavailable(f"{client!r} sent a chunk that it has not announced.", hint="Announce it again.")
        put_blob(self._uploads, chunk)

    def get(self, digest: str) -> bytes:
        """A chunk of the model of the round that is open. Raises NotFound for anything else."""
        with self._lock:
            if self._live is None or digest not in self._live.manifest.model.chunks:
                raise NotFound("no such chunk is offered.")
        return read_blob(self._models, digest, parcels.CHUNK, "chunk")

    def answer(self, client: str, round: int, step: int, sent: Sent, digest: str) -> None:
        """Take a message in; the same again is taken for the same.

        Raises Refused for a message that breaks the protocol, and Conflict for one that comes too late, or differs from
        an earlier one.
        """
        with self._lock:
            if sent.message.client != client:
                raise Refused(f"{client!r} sent a message of {sent.message.client!r}.")
            entry = Logged(self._bucket(client, round), step, client, digest, encode(sent))
            if self._taken(client, round, step) == digest:
                return
            # a step whose time is over is over, whether or not anybody has looked at the clock since
            self.tick()
            live = self._require(client, round, step)
            message = live.opened(sent)
            gathering = live.gatherings[entry.bucket]
            gathering.check(message)
            if self._rounds.take(self.plan.task, round, entry):
                gathering.accept(message)
            self._announced.pop(client, None)
            self.tick()

    def tick(self) -> None:
        """Do what is due: end steps, conclude the round, begin the next."""
        with self._lock:
            live = self._live
            if live is None:
                self._begin()
                return
            for bucket in range(len(live.gatherings)):
                while live.due(bucket, self._clock()):
                    step = live.gatherings[bucket].step
                    # who asks for the masks learns the sum
                    if live.manifest.mode != PLAIN and step == Step.CONSENTS and not self._released(live):
                        return
                    why = "all" if not live.gatherings[bucket].waiting else "late"
                    self._rounds.end_step(self.plan.task, live.row.round, bucket, step, why)
                    live.end_step(bucket, self._clock())
            if live.over:
                self._conclude(live)

    def _begin(self) -> None:
        if self.over:
            return
        _, failed, last = self._history()
        now = self._clock()
        present = sorted(self._present() & set(self._members()))
        rest = self._rounds.get(self.plan.task, last).ended_at if failed else None
        if len(present) < self.plan.needed or (rest is not None and now < rest + self._poll * SECOND):
            return
        chosen = self._random.sample(present, min(len(present), self.plan.cohort))
        buckets = [sorted(chosen[b :: self.plan.buckets]) for b in range(self.plan.buckets)]
        state, before = self.state, self._state()
        model = parcels.put(self._models, arrays.encode(self._rule.broadcast(state)))
        done = self._history()[0]
        manifest = self.plan.manifest(
            round=last + 1,
            model=model,
            clients=len(chosen),
            cohort_digest=names_digest(chosen),
            epsilon=self._rule.epsilon(done + 1),
            asked=self._rule.asks(state),
        )
        offer = encode(offered(manifest, self._sign))
        deadline = now + int(self.plan.seconds * SECOND)
        self._take_up(self._rounds.open(self.plan.task, last + 1, offer, buckets, written_reference(before), deadline))

    def _present(self) -> set[str]:
        now = self._clock()
        return {client for client, at in self._seen.items() if now - at <= PRESENT}

    def _take_up(self, row: Round) -> None:
        # as of its opening: a certificate that has run out since does not change what was taken in
        opened = row.opened_at / SECOND
        live = LiveRound(row, lambda name, der: self._identify(name, der, opened), self._uploads, self._clock())
        live.replay(self._rounds.log(self.plan.task, row.round))
        self._live = live

    def _released(self, live: LiveRound) -> bool:
        """Whether the sum of a round may be known; the round is over if not."""
        state = arrays.decode(parcels.get(self._models, read_reference(live.row.before)))
        try:
            self._rule.release(state, live.row.round)
        except FivefoldError as e:
            self._abort(live, str(e))
            return False
        return True

    def _conclude(self, live: LiveRound) -> None:
        task, number = self.plan.task, live.row.round
        good = [g for b, g in enumerate(live.gatherings) if b not in live.failed]
        try:
            if len(good) < (2 if live.manifest.mode == BUCKETS else 1):
                self._abort(live, "; ".join(live.failed.values()))
                return
            if live.manifest.mode == PLAIN and not self._released(live):
                return
            parts = [part for g in good for part in g.parts()]
            after = self._rule.step(parts, arrays.decode(parcels.get(self._models, read_reference(live.row.before))))
            stored = parcels.put(self._models, arrays.encode(after))
        except FivefoldError as e:
            self._abort(live, str(e))
            return
        except Exception as e:
            # the strategy is at fault: the round must not be tried for ever
            self._abort(live, f"the strategy failed: {type(e).__name__}")
            raise
        closing = {}
        for bucket, gathering in enumerate(live.gatherings):
            if isinstance(gathering, SecureGathering) and gathering.removed is not None:
                removed = parcels.put(self._uploads, arrays.encode({"removed": gathering.removed}))
                closing[bucket, int(Step.UNMASK)] = encode(removed)
        survivors = [list(part.clients) for part in parts]
        self._rounds.finish(task, number, written_reference(stored), survivors, closing, SECRET_STEPS)
        self._live, self._ended = None, None
        self._forget_vectors(number - self.plan.replayable, number)

    def _abort(self, live: LiveRound, why: str) -> None:
        self._rounds.abort(self.plan.task, live.row.round, why, SECRET_STEPS)
        self._live, self._ended = None, None
        self._forget_vectors(live.row.round, live.row.round)

    def _forget_vectors(self, number: int, last: int) -> None:
        """Delete the chunks that clients sent in a round, but those that came again in a round that is kept."""
        kept = range(max(1, last - self.plan.replayable + 1), last + 1)
        again = {digest for other in kept if other != number for digest in self._vectors(other)}
        for digest in self._vectors(number) - again:
            self._uploads.delete(digest)

    def _vectors(self, number: int) -> set[str]:
        found: set[str] = set()
        for entry in self._rounds.log(self.plan.task, number) if number > 0 else ():
            if entry.body:
                parcel = decode(entry.body, Parcel) if entry.sender == SERVER else decode(entry.body, Sent).parcel
                found.update(parcel.chunks if parcel is not None else ())
        return found

    def _history(self) -> tuple[int, int, int]:
        """How many rounds are done, how many came to nothing since, and the last number."""
        if self._ended is None:
            ended = [r for r in self._rounds.all(self.plan.task) if r.status != OPEN]
            failed = next((i for i, r in enumerate(ended) if r.status != ABORTED), len(ended))
            last = max((r.round for r in ended), default=0)
            self._ended = self._rounds.count(self.plan.task, DONE), failed, last
        return self._ended

    def _state(self) -> Parcel:
        done = self._rounds.all(self.plan.task, status=DONE, limit=1)
        return read_reference(done[0].after) if done else parcels.put(self._models, arrays.encode(self._rule.begin()))

    def _current(self) -> tuple[Arrays, bool]:
        """The state after the last round that is done, and whether it is the last one."""
        _, _, last = self._history()
        if self._known is None or self._known[0] != last:
            done = self._rounds.all(self.plan.task, status=DONE, limit=1)
            kept = None if not done else parcels.get(self._models, read_reference(done[0].after))
            state = self._rule.begin() if kept is None else arrays.decode(kept)
            self._known = last, state, self._rule.done(state)
        return self._known[1:]

    def _bucket(self, client: str, round: int) -> int:
        live = self._live
        if live is not None and live.row.round == round:
            return live.bucket_of.get(client, 0)
        row = self._rounds.get(self.plan.task, round)
        return next((b for b, names in enumerate(row.buckets) if client in names), 0)

    def _taken(self, client: str, round: int, step: int) -> str | None:
        return self._rounds.taken(self.plan.task, round, self._bucket(client, round), step, client)

    def _require(self, client: str, round: int, step: int) -> LiveRound:
        live = self._live
        if live is None or live.row.round != round:
            raise Conflict(f"round {round} of {self.plan.task!r} is over.", hint="Wait for the next one.")
        bucket = live.bucket_of.get(client)
        if bucket is None:
            raise Refused(f"{client!r} does not take part in round {round}.")
        if bucket in live.failed or live.gatherings[bucket].step != step:
            raise Conflict(f"step {step} of round {round} is over.", hint="Wait for the next round.")
        return live


def written_reference(parcel: Parcel) -> Any:
    """A parcel as it stands in the catalog."""
    return [parcel.size, parcel.digests.hex()]


def read_reference(written: Any) -> Parcel:
    """A parcel from the catalog."""
    return Parcel(written[0], bytes.fromhex(written[1]))
