"""A federation in one process: the same coordinator, sites, messages and sums as over a network, without the network.

Nothing is left out: certificates are issued, envelopes signed and verified, vectors masked. What a simulation gives is
what a deployment gives on the same plan, work and order of calls.
"""

from __future__ import annotations

import random as random_module
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fivefold.backends import connect
from fivefold.catalog import open_catalog
from fivefold.catalog.federated_rounds import Round
from fivefold.core.errors import Unavailable
from fivefold.federated.identity import certificates
from fivefold.federated.identity.authority import Authority
from fivefold.federated.identity.invitation import Invitation, new_secret
from fivefold.federated.identity.keys import Keys
from fivefold.federated.rounds.coordinator import SECOND, Coordinator, Rule
from fivefold.federated.rounds.desk import SERVER, Desk
from fivefold.federated.rounds.enrolment import Site, enrol
from fivefold.federated.rounds.manifest import Plan
from fivefold.federated.rounds.participant import Participant, Work
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.wire.arrays import Arrays
from fivefold.federated.wire.line import MemoryLine, Peer
from fivefold.ports.artifacts import ArtifactStore

_STORE: Any = ArtifactStore
_TURNS = 100
"""Turns of every site in a round that cannot be needed: then something waits for nothing."""


class Simulated(msgspec.Struct, frozen=True):
    """What came out: the last state, the rounds in their order, and the bytes that sites sent and received."""

    state: Mapping[str, Any]
    rounds: tuple[Round, ...]
    sent: int
    received: int


class SimulatedClock:
    """Microseconds that pass only when nothing else happens, so that a deadline never depends on this machine."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Let some time pass."""
        self.now += int(seconds * SECOND)


def simulate(
    plan: Plan,
    rule: Rule,
    works: Mapping[str, Work],
    *,
    policy: Policy = Policy(),
    seed: int | None = None,
    present: Callable[[str, int], bool] = lambda site, turn: True,
    folder: Path | None = None,
    start: int = 1_800_000_000 * SECOND,
) -> Simulated:
    """All rounds of a plan, with a site for each of `works`.

    `present(site, turn)` says whether a site gets its turn, which is how dropouts and stragglers are played; a turn of
    all takes a hundredth of a round. A `seed` makes who is chosen repeatable, never a key or a mask. What is written
    goes to `folder`, or a temporary one. Raises Unavailable when the federation gave up.
    """
    with tempfile.TemporaryDirectory(prefix="fivefold-federation-") as temporary:
        root, clock = folder or Path(temporary), SimulatedClock(start)
        with open_catalog(f"sqlite:///{root}/catalog.db", "simulation", clock=clock) as catalog:
            authority = Authority(root / "authority", "simulation", start / SECOND)
            keys = authority.server_keys(["localhost"], start / SECOND)
            coordinator = Coordinator(
                plan,
                rule,
                rounds=catalog.rounds,
                members=lambda: list(works),
                models=connect(_STORE, "memory:"),
                uploads=connect(_STORE, "memory:"),
                sign=keys.sign,
                identify=partial(certificates.client_key, authority.certificate),
                clock=clock,
                random=None if seed is None else random_module.Random(seed),
            )
            desk = Desk(catalog.members, authority, keys, {plan.task: coordinator}, clock)
            models, parts, lines = connect(_STORE, "memory:"), dict[str, Participant](), list[MemoryLine]()
            for name, work in works.items():
                site, own = _joined(root / "sites" / name, name, authority, desk, catalog.members.invite, start)
                serial = certificates.said(own.certificate or b"").serial
                lines.append(MemoryLine(desk.answer, Peer(name, serial)))
                parts[name] = Participant(
                    plan.task,
                    work,
                    policy,
                    keys=own,
                    site=site,
                    connect=lambda line=lines[-1]: line,  # type: ignore[misc]
                    store=models,
                    folder=root / "sites" / name,
                    clock=lambda: clock() / SECOND,
                )
            _run(coordinator, parts, clock, plan, present)
            state: Arrays = coordinator.state
            rounds = tuple(reversed(catalog.rounds.all(plan.task)))
            if sum(r.status == "done" for r in rounds) < plan.rounds and not rule.done(state):
                raise Unavailable(f"the federation gave up after {len(rounds)} rounds: {rounds[-1].error}")
            return Simulated(dict(state), rounds, sum(x.sent for x in lines), sum(x.received for x in lines))


def _run(
    coordinator: Coordinator,
    parts: Mapping[str, Participant],
    clock: SimulatedClock,
    plan: Plan,
    present: Callable[[str, int], bool],
) -> None:
    for turn in range(_TURNS * (plan.rounds + plan.attempts)):
        if coordinator.over:
            return
        for name, part in parts.items():
            if present(name, turn):
                part.turn()
        clock.pass_(plan.seconds / 100)
        coordinator.tick()
    raise Unavailable("the federation waits for sites that never come.")


def _joined(
    folder: Path, name: str, authority: Authority, desk: Desk, invite: Callable[..., None], start: int
) -> tuple[Site, Keys]:
    token, id, digest = new_secret()
    invite(name, id, digest, expires_at=start + SECOND, actor=SERVER)
    invitation = Invitation(name, "memory", "memory", authority.pem.decode(), token)
    site = enrol(folder, invitation, lambda address, root: MemoryLine(desk.enrol, Peer("", "")), start / SECOND)
    return site, Keys(folder, name)
