"""The server's desk: who calls is known by certificate and signature before anything is read, and every reply is
signed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping

from fivefold.catalog.federated_members import Issued, Members
from fivefold.core.errors import FivefoldError, NotFound
from fivefold.federated.identity import certificates
from fivefold.federated.identity.authority import Authority, requested_key
from fivefold.federated.identity.invitation import same, token_parts
from fivefold.federated.identity.keys import Keys, Request
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds import bodies
from fivefold.federated.rounds.bodies import Answered, Enrol, Enrolled, Sent
from fivefold.federated.rounds.coordinator import SECOND, Coordinator
from fivefold.federated.wire import envelope
from fivefold.federated.wire.envelope import Envelope
from fivefold.federated.wire.failures import failure
from fivefold.federated.wire.line import Peer
from fivefold.federated.wire.parcels import Parcel

SERVER = "server"


class Desk:
    """Answers calls for the federations of a project, each with its coordinator. `clock` gives microseconds UTC."""

    def __init__(
        self,
        members: Members,
        authority: Authority,
        keys: Keys,
        coordinators: Mapping[str, Coordinator],
        clock: Callable[[], int],
    ) -> None:
        self._members, self._authority, self._keys = members, authority, keys
        self._coordinators, self._clock = coordinators, clock

    def answer(self, peer: Peer, request: bytes) -> bytes:
        """Answer a call of somebody whose certificate TLS has verified.

        Raises Refused when it is not from whom it says: nothing is signed for such a caller. Everything else that goes
        wrong stands in the reply.
        """
        asked = envelope.read(request)
        if not peer.name or asked.sender != peer.name:
            raise Refused(f"{peer.name!r} speaks in the name of {asked.sender!r}.")
        try:
            key = bytes.fromhex(self._members.require(peer.name, peer.serial))
            envelope.verify(asked, key)
            reply = Answered(self._body(asked, peer, key))
        except Exception as e:  # the edge: one call may fail, the others go on
            if not isinstance(e, FivefoldError):
                traceback.print_exception(e, file=sys.stderr)
            reply = Answered(failure=failure(e))
        sealed = envelope.seal(
            self._keys.sign,
            asked.method,
            SERVER,
            bodies.encode(reply),
            task=asked.task,
            round=asked.round,
            step=asked.step,
            nonce=asked.nonce,
        )
        return envelope.write(sealed)

    def enrol(self, peer: Peer, request: bytes) -> bytes:
        """Answer a call of somebody who has an invitation, and no certificate yet."""
        try:
            asked = bodies.decode(request, Enrol)
            id, digest = token_parts(asked.token)
            client = self._members.invited(id, lambda kept: same(kept, digest))
            key = requested_key(asked.request).hex()
            made = self._members.redeem(id, asked.request.digest, key, lambda: self._issue(asked.request, client))
            own = self._keys.certificate
            assert own is not None
            return bodies.encode(Answered(bodies.encode(Enrolled(made.certificate, own))))
        except Exception as e:  # the edge: one call may fail, the others go on
            if not isinstance(e, FivefoldError):
                traceback.print_exception(e, file=sys.stderr)
            return bodies.encode(Answered(failure=failure(e)))

    def _body(self, asked: Envelope, peer: Peer, key: bytes) -> bytes:
        client = peer.name
        if asked.method == bodies.RENEW:
            request = bodies.decode(asked.body, Request)
            if requested_key(request) != key:
                raise Refused("a renewal is for the same key.", hint="Enrol anew with another key.")
            made = self._members.renew(client, request.digest, key.hex(), lambda: self._issue(request, client))
            return made.certificate
        coordinator = self._coordinators.get(asked.task)
        if coordinator is None:
            raise NotFound.named("federation", asked.task, self._coordinators)
        match asked.method:
            case bodies.NEXT:
                return bodies.encode(coordinator.next(client))
            case bodies.ANSWER:
                sent = bodies.decode(asked.body, Sent)
                coordinator.answer(client, asked.round, asked.step, sent, asked.digest)
                return b""
            case bodies.ANNOUNCE:
                parcel = bodies.decode(asked.body, Parcel)
                return bodies.encode(coordinator.announce(client, asked.round, asked.step, parcel))
            case bodies.PUT:
                coordinator.put(client, asked.body)
                return b""
            case bodies.GET:
                return coordinator.get(asked.body.decode(errors="replace"))
        raise NotFound(f"no method {asked.method!r}.")

    def _issue(self, request: Request, client: str) -> Issued:
        der = self._authority.issue(request, client, self._clock() / SECOND)
        found = certificates.said(der)
        return Issued(found.serial, der, int(found.ends * SECOND))
