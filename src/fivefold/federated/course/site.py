"""A site's part: it answers the questions of a federation that it has declared itself, and no others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from fivefold.core.errors import Conflict
from fivefold.core.federation import Federation
from fivefold.federated.course.course import Course
from fivefold.federated.course.progress import read_progress
from fivefold.federated.course.questions import Question
from fivefold.federated.course.rows import SiteRows
from fivefold.federated.describing import Paying
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds.manifest import Manifest
from fivefold.federated.rounds.policy import Policy

MOST_SITES = 100_000


class SiteWork:
    """The work of a participant. `course` makes the course for a number of sites, `rows` the site's rows for it.

    What the manifest asks for must be what the site finds by its own declaration, or the round is refused. `pay` is
    the site's own ledger: an answer that would spend more than was promised is not given.
    """

    def __init__(
        self,
        course: Callable[[int], Course],
        rows: Callable[[Course], SiteRows],
        digest: str,
        *,
        pay: Paying | None = None,
        random: RandomBytes = os.urandom,
    ) -> None:
        self._course_of, self._rows_of, self._digest = course, rows, digest
        self._pay, self._random = pay, random
        self._course: Course | None = None
        self._rows: SiteRows | None = None
        self._due: tuple[int, Question] | None = None

    def __call__(self, manifest: Manifest, model: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The answer to a round's question. Raises Refused for one that is not the declared one."""
        _same("definitions", manifest.definitions, self._digest)
        course = self._require_course(manifest)
        question = course.question(read_progress(model))
        asked = (manifest.mode, manifest.min_survivors, manifest.length, manifest.bits, manifest.modulus_bits)
        mine = (course.mode, course.min_survivors, question.length, question.bits, question.bits)
        fields = ("mode", "min_survivors", "length", "bits", "modulus_bits")
        for field, theirs, own in zip(fields, asked, mine, strict=True):
            _same(field, theirs, own)
        _same("wraps", manifest.wraps, True)
        if self._rows is None:
            self._rows = self._rows_of(course)
        self._due = manifest.round, question
        return question.tell(self._rows, self._random)

    def _require_course(self, manifest: Manifest) -> Course:
        given = manifest.settings if isinstance(manifest.settings, dict) else {}
        sites = given.get("sites")
        if type(sites) is not int or not manifest.clients <= sites <= MOST_SITES:
            raise Refused(f"settings: sites={sites!r} for {manifest.clients} clients (accepted: up to {MOST_SITES}).")
        if self._course is None or self._course.sites != sites:
            self._course, self._rows = self._course_of(sites), None
        return self._course

    def tell(self, round: int) -> None:
        """Pay for the answer of a round, just before it leaves: one that was never sent costs nothing.

        Raises Refused when it would spend more than was promised.
        """
        if self._pay is None or self._due is None or self._due[0] != round or self._due[1].curve is None:
            return
        try:
            self._pay(str(round), self._due[1].what, self._due[1].curve)
        except Conflict as e:
            raise Refused(f"{e.message} Nothing was sent.", hint=e.hint or "") from None


def floors(federation: Federation, digest: str, policy: Policy) -> Policy:
    """The policy of a site, and above it what its own declaration promises: definitions, survivors, epsilon."""
    secure, dp = federation.secure, federation.dp
    least = max(policy.min_survivors, secure.min_survivors) if secure else policy.min_survivors
    return msgspec.structs.replace(
        policy,
        definitions=policy.definitions or digest,
        min_survivors=least,
        min_clients=max(policy.min_clients, least),
        epsilon=dp.epsilon if dp is not None and policy.epsilon is None else policy.epsilon,
    )


def _same(field: str, given: object, own: object) -> None:
    if given != own:
        raise Refused(
            f"the manifest has {field} {given!r}, where the declaration here makes it {own!r}.",
            hint="The project files of the server and of this site differ: apply the same one.",
        )
