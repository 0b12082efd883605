"""A site in the rounds of one federation: it asks what to do, checks it against its own floors, and does it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from numpy.typing import NDArray

from fivefold.core.errors import Conflict, FivefoldError, Invalid, Unavailable
from fivefold.federated.identity import certificates
from fivefold.federated.identity.keys import Keys
from fivefold.federated.identity.private_files import read_private, write_private
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds import bodies
from fivefold.federated.rounds.bodies import Answered, Ask, Idle, Missing, Next, Plain, Sent
from fivefold.federated.rounds.enrolment import Site
from fivefold.federated.rounds.gathering import without_vector
from fivefold.federated.rounds.manifest import PLAIN, Manifest, Offer, accepted, terms
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.secure_sum.client import SumClient
from fivefold.federated.secure_sum.messages import Delivery, FromClient
from fivefold.federated.secure_sum.ring import Ring
from fivefold.federated.wire import arrays, envelope, parcels
from fivefold.federated.wire.line import Line
from fivefold.ports.artifacts import ArtifactStore

Work = Callable[[Manifest, Mapping[str, NDArray[Any]]], NDArray[Any]]
"""A client's part of a round: of the manifest and the model, a vector (uint64) of the manifest's length."""

T = TypeVar("T")
_LONGEST_PAUSE = 10.0


class Participant:
    """A site's part in the federation `task`.

    `tell` is called with the number of a round just before the site's vector leaves it, masked or not, and may raise
    Refused to keep it. `connect` gives a line to the server; the chunks of the model are kept in `store`, which is this
    site's and this federation's alone. Which rounds were taken part in stands in `folder`, so that none is ever done
    twice. Secrets of a round are in memory alone: a site that is killed has dropped out of that round, and takes part
    in the next.
    """

    def __init__(
        self,
        task: str,
        work: Work,
        policy: Policy,
        *,
        keys: Keys,
        site: Site,
        connect: Callable[[], Line],
        store: ArtifactStore,
        folder: Path,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        say: Callable[[str], None] = lambda text: None,
        tell: Callable[[int], None] = lambda round: None,
    ) -> None:
        self.task, self._work, self._policy, self._tell = task, work, policy, tell
        self._keys, self._site, self._authority = keys, site, site.certificate
        self._connect, self._store, self._clock, self._random = connect, store, clock, random
        self._say, self._line = say, connect()
        self._notes = folder / f"rounds-{hashlib.sha256(task.encode()).hexdigest()[:16]}.json"
        self._last = self._read_last()
        self._round, self._session = 0, b""
        self._sum: SumClient | None = None
        self._outbox: tuple[int, int, FromClient | Plain] | None = None

    def run(self, over: threading.Event) -> None:
        """Take part until there are no more rounds, or until told to end. While the server does not answer, wait.

        Raises what the server refuses for good: Unauthenticated after a revocation, NotFound for an unknown federation.
        """
        pause = 0.25
        while not over.is_set():
            try:
                self._renew()
                reply = self.turn()
                pause = 0.25
            except Unavailable as e:
                self._say(str(e))
                over.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if isinstance(reply, Idle):
                if reply.over:
                    self._say("there are no more rounds.")
                    return
                over.wait(min(max(reply.seconds, 0.0), _LONGEST_PAUSE))

    def turn(self) -> Next:
        """Bring what there is to say, ask what is next, and do it. Raises Unavailable when the line is cut."""
        self._deliver()
        reply: Next = self._ask(bodies.NEXT, b"", Next)  # type: ignore[arg-type]
        try:
            match reply:
                case Offer():
                    self._take(reply)
                case Ask():
                    self._step(reply)
        except Invalid as e:
            self._drop(str(e))
            self._note(max(self._last, self._round))
        else:
            self._deliver()
        return reply

    def close(self) -> None:
        """Hang up."""
        self._forget()
        self._line.close()

    def _take(self, offer: Offer) -> None:
        manifest = accepted(offer, self._site.server_key)
        session = hashlib.sha256(bodies.encode(offer)).digest()
        if manifest.round == self._round and session != self._session:
            raise Refused(f"round {manifest.round} was offered with another manifest: the server is not honest.")
        if manifest.round <= self._last:
            return
        self._forget()
        self._round, self._session = manifest.round, session
        if manifest.task != self.task:
            raise Refused(f"the manifest is of {manifest.task!r}.")
        self._policy.require(manifest)
        agreed = terms(manifest, offer.manifest, offer.bucket)
        model = parcels.fetch(self._store, manifest.model, self._policy.model_bytes, self._chunk)
        for old in set(self._store.list()) - set(manifest.model.chunks):
            self._store.delete(old)
        # before anything is done with it: a round that was begun is never begun again, here or after a crash
        self._note(manifest.round)
        self._say(f"round {manifest.round}: {manifest.clients} clients, {manifest.mode}.")
        vector = self._work(manifest, arrays.decode(model))
        if manifest.mode == PLAIN:
            ring = Ring(agreed.modulus_bits)
            if len(vector) != agreed.length:
                raise Invalid(f"the work made {len(vector)} values where the manifest says {agreed.length}.")
            packed = ring.pack(ring.words(vector, agreed.most))
            self._tell(manifest.round)
            self._outbox = (manifest.round, 1, Plain(self._site.client, packed))
            return
        self._sum = SumClient(
            agreed,
            self._site.client,
            vector,
            sign=self._keys.sign,
            credential=self._keys.certificate or b"",
            identify=self._identify,
            random=self._random,
        )
        self._outbox = (manifest.round, 1, self._sum.advertise())

    def _step(self, ask: Ask) -> None:
        if self._sum is None or ask.round != self._round:
            return  # of a round that was begun before this process, or given up
        if isinstance(ask.message, Delivery):
            self._tell(ask.round)
        self._outbox = (ask.round, ask.step, self._sum.receive(ask.message))

    def _deliver(self) -> None:
        """Send what there is to send; what was cut short is sent again unchanged."""
        if self._outbox is None:
            return
        round, step, message = self._outbox
        sent = Sent(message)
        try:
            bare, vector = without_vector(message)
            if len(vector) > bodies.INLINE:
                sent = Sent(bare, self._send_parcel(round, step, vector))
            self._ask(bodies.ANSWER, bodies.encode(sent), None, round=round, step=step)
        except (Conflict, Invalid) as e:
            self._drop(str(e))
        self._outbox = None

    def _send_parcel(self, round: int, step: int, data: bytes) -> parcels.Parcel:
        parcel = parcels.parcel_of(data)
        chunks = dict(zip(parcel.chunks, parcels.parts(data), strict=True))
        body = bodies.encode(parcel)
        for digest in self._ask(bodies.ANNOUNCE, body, Missing, round=round, step=step).digests:
            if digest not in chunks:
                raise Refused("the server asks for a chunk that was not announced.")
            self._ask(bodies.PUT, chunks[digest], None, round=round, step=step)
        return parcel

    def _chunk(self, digest: str) -> bytes:
        return self._call(bodies.GET, digest.encode(), 0, 0)

    def _ask(self, method: str, body: bytes, type: type[T] | None, *, round: int = 0, step: int = 0) -> T:
        reply = self._call(method, body, round, step)
        return bodies.decode(reply, type) if type is not None else None  # type: ignore[return-value]

    def _call(self, method: str, body: bytes, round: int, step: int) -> bytes:
        asked = envelope.seal(self._keys.sign, method, self._site.client, body, task=self.task, round=round, step=step)
        reply = envelope.read(self._line.call(envelope.write(asked)))
        envelope.verify(reply, self._site.server_key)
        of = (reply.method, reply.task, reply.round, reply.step, reply.nonce)
        if of != (method, self.task, round, step, asked.nonce):
            raise Refused("the reply is to another question.")
        answered = bodies.decode(reply.body, Answered)
        if answered.failure is not None:
            raise answered.failure.error()
        return answered.body

    def _identify(self, name: str, credential: bytes) -> bytes:
        key = certificates.client_key(self._authority, name, credential, self._clock())
        if self._policy.peers is not None and self._policy.peers.get(name) != key.hex():
            raise Refused(f"{name!r} is not among the peers of the policy with this key.")
        return key

    def _renew(self) -> None:
        if not self._keys.renewal_due(self._clock()):
            return
        try:
            self._keys.install(self._call(bodies.RENEW, bodies.encode(self._keys.request()), 0, 0))
        except FivefoldError as e:
            # there is half its life left to try again
            self._say(f"the certificate could not be renewed: {e}")
            return
        self._line.close()
        self._line = self._connect()

    def _drop(self, why: str) -> None:
        self._say(f"out of round {self._round or self._last}: {why}")
        self._forget()

    def _note(self, round: int) -> None:
        self._last = round
        write_private(self._notes, msgspec.json.encode({"task": self.task, "round": round}))

    def _forget(self) -> None:
        self._sum, self._outbox = None, None

    def _read_last(self) -> int:
        kept = read_private(self._notes)
        return 0 if kept is None else int(msgspec.json.decode(kept)["round"])
