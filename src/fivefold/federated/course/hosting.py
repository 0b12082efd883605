"""A run of a federation on its server: what is needed to begin it, what it tells while it goes on, how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from fivefold.catalog.federated_rounds import DONE, OPEN, Round, Rounds
from fivefold.catalog.releases import Releases
from fivefold.catalog.versions import Version
from fivefold.core.canonical import Json
from fivefold.core.errors import Invalid
from fivefold.core.federation import Federation
from fivefold.core.types import Schema
from fivefold.federated.course.course import Course
from fivefold.federated.course.definition import course_of, definitions, plan_of
from fivefold.federated.course.packaging import champion_files, package_files, register
from fivefold.federated.course.progress import Progress, read_progress
from fivefold.federated.course.rule import CourseRule
from fivefold.federated.privacy.ledger import pay
from fivefold.federated.rounds.bodies import decode
from fivefold.federated.rounds.coordinator import read_reference
from fivefold.federated.rounds.manifest import Manifest, Offer, Plan
from fivefold.federated.wire import arrays, parcels
from fivefold.lifecycle.judge import Verdict
from fivefold.lifecycle.release import Release, promote
from fivefold.ports.artifacts import ArtifactStore
from fivefold.workspace import Workspace

LATEST = 200
"""So many rounds are looked at for what is new, again and again while a run goes on."""


class Hosted(NamedTuple):
    """A federation as its coordinator takes it."""

    course: Course
    plan: Plan
    rule: CourseRule


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one round came to. `what` was summed; `asked` sites, of whom `sites` are in the sum; `up` and `down` are
    the bytes of one site's vector and of what it was sent; `epsilon` is what all rounds until then cost together."""

    task: str
    round: int
    status: str
    what: str
    asked: int
    sites: int
    seconds: float
    up: int
    down: int
    epsilon: float | None = None
    loss: float | None = None
    clipped: float | None = None
    error: str = ""

    @property
    def dropouts(self) -> int:
        """Sites that were asked and are not in the sum."""
        return self.asked - self.sites


class Ended(msgspec.Struct, frozen=True):
    """The version that a run came to, the decisions of its gates, and whether it is champion now."""

    version: Version
    verdict: Verdict
    release: Release | None


def host(
    workspace: Workspace,
    federation: Federation,
    schemas: Mapping[str, Schema],
    task: str,
    *,
    releases: Releases,
    sites: int,
    quorum: int | None = None,
    seconds: float = 600.0,
) -> Hosted:
    """A run of a federation of so many sites, whose releases are paid for in a ledger.

    Raises Invalid for sites that are too few for what was declared.
    """
    course = course_of(federation, schemas, sites)
    plan = plan_of(course, task, definitions(workspace, federation), quorum=quorum, seconds=seconds)
    rule = CourseRule(
        course,
        package=lambda progress: package_files(workspace.places.scratch / "packages", course, progress),
        champion=lambda: champion_files(workspace, course),
        pay=None
        if federation.dp is None
        else lambda key, what, curve: pay(releases, federation, f"{task}/{key}", what, curve),
    )
    return Hosted(course, plan, rule)


def events(rounds: Rounds, models: ArtifactStore, task: str, course: Course, after: int = 0) -> Iterator[Event]:
    """What came of the rounds of a run that have ended, those after a number, in order."""
    for row in reversed(rounds.all(task, limit=LATEST)):
        if row.round > after and row.status != OPEN:
            yield _event(row, models, course)


def conclude(
    workspace: Workspace,
    course: Course,
    rounds: Rounds,
    task: str,
    state: Progress,
    schemas: Mapping[str, Schema],
    *,
    release: bool = True,
    simulated: bool = False,
) -> Ended:
    """Make a version of what a run came to, and champion of the version if its gates pass; twice is once.

    A run that stopped early ends with the model of its last round that is done, which was not measured and so passes
    no gate. Raises Invalid when there was no such round.
    """
    done = [row for row in reversed(rounds.all(task, limit=10_000)) if row.status == DONE]
    if course.fitted(state) is None:
        why = next((": " + row.error for row in rounds.all(task, limit=1) if row.error), ".")
        raise Invalid(
            f"{course.federation.ref}: no round has made a model{why}",
            hint="See `fivefold federate rounds`, mend what is wrong, and run it again with another --run.",
        )
    manifests = [_manifest(row) for row in done]
    lineage: dict[str, Json] = {
        "name": course.federation.name,
        "run": task,
        "definitions": manifests[-1].definitions,
        "simulated": simulated,
        "mode": course.mode,
        "rounds": state.known.round,
        "sums": len(done),
        "manifests": [manifest_digest(row) for row in done],
        "cohorts": [m.clients for m in manifests],
        "survivors": [sum(len(names) for names in row.survivors) for row in done],
        "epsilon": manifests[-1].epsilon,
        "clipped": state.known.clipped,
        "loss": state.known.loss,
    }
    took = sum((row.ended_at or row.opened_at) - row.opened_at for row in done) / 1e6
    version, verdict = register(workspace, course, state, schemas, lineage, seconds=round(took, 3))
    released = promote(workspace, version, verdict=verdict) if release else None
    return Ended(version, verdict, released)


def manifest_digest(row: Round) -> str:
    """The digest of a round's signed manifest, which names the round for ever."""
    return parcels.parcel_of(decode(row.offer, Offer).manifest).chunks[0]


def _manifest(row: Round) -> Manifest:
    return msgspec.msgpack.decode(decode(row.offer, Offer).manifest, type=Manifest)


def _event(row: Round, models: ArtifactStore, course: Course) -> Event:
    manifest = _manifest(row)
    before = read_progress(arrays.decode(parcels.get(models, read_reference(row.before))))
    after = None
    if row.status == DONE:
        after = read_progress(arrays.decode(parcels.get(models, read_reference(row.after)))).known
    moved = after is not None and after.round > before.known.round
    return Event(
        row.task,
        row.round,
        row.status,
        course.question(before).what,
        manifest.clients,
        sum(len(names) for names in row.survivors or ()),
        ((row.ended_at or row.opened_at) - row.opened_at) / 1e6,
        -(-manifest.length * manifest.modulus_bits // 8),
        manifest.model.size,
        manifest.epsilon,
        after.loss if after is not None and moved else None,
        after.clipped if after is not None and moved else None,
        row.error,
    )
