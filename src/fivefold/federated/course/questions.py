"""What is asked in a round, what a site answers, and what is known once the answers are added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.adding import modular_sum, plain_sum
from fivefold.federated.contribution import CLIPPED, LOSS, WEIGHT, Terms
from fivefold.federated.course.progress import MOMENTS, TRAINING, Known, Progress
from fivefold.federated.describing import (
    MOMENTS_TOLD,
    POWERS_TOLD,
    Counting,
    counting_moments,
    counting_powers,
    described,
    tell_moments,
    tell_powers,
    units_of,
)
from fivefold.federated.encoding.codec import decode, encode
from fivefold.federated.encoding.plan import Plan, next_reach
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.encoding.whole import decode_whole, encode_whole
from fivefold.federated.growing import modulus_bits
from fivefold.federated.privacy.accounting import Curve, add
from fivefold.federated.robust.buckets import combine_buckets
from fivefold.federated.robust.checks import admit
from fivefold.federated.robust.rules import combine
from fivefold.federated.rounds.gathering import Part
from fivefold.federated.strategies import State
from fivefold.federated.telling import turn
from fivefold.models.trees.growth import step

if TYPE_CHECKING:
    from fivefold.federated.course.course import Course
    from fivefold.federated.course.rows import SiteRows

MOST_ROWS = 2**24
"""All sites' rows, at most: sums over them are asked for modulo what they cannot reach."""


class Question(Protocol):
    """One sum: `length` numbers modulo 2**`bits`. `what` is released, and spends `curve` if privacy is promised."""

    length: int
    bits: int
    what: str
    curve: Curve | None

    def tell(self, site: SiteRows, random: RandomBytes) -> np.ndarray:
        """A site's answer, uint64 `(length,)` below 2**bits. Raises Invalid for rows that cannot be told."""

    def after(self, parts: Sequence[Part]) -> Progress:
        """What is known then; each part is a vector and whose sum it is. Raises Invalid to discard them."""


class Powers:
    """How many values of each column have which power of two."""

    def __init__(self, course: Course, progress: Progress) -> None:
        self._progress, dp = progress, course.federation.dp
        self._how = counting_powers(len(course.levels), dp, course.releases, course.min_survivors, course.cohort)
        self.length, self.bits, self.curve = self._how.length, self._how.bits, self._how.curve
        self.what = POWERS_TOLD[1]

    def tell(self, site: SiteRows, random: RandomBytes) -> np.ndarray:
        return self._how.hide(tell_powers(site.x), random)

    def after(self, parts: Sequence[Part]) -> Progress:
        total, sites = counted(self._how, parts)
        unit = units_of(total, self._how, sites)
        return moved(self._progress, self.curve, stage=MOMENTS, unit=tuple(unit.tolist()))


class Moments:
    """Counts, sums and squares of the columns."""

    def __init__(self, course: Course, progress: Progress) -> None:
        self._course, self._progress, dp = course, progress, course.federation.dp
        self._unit = np.array(progress.known.unit)
        self._how = counting_moments(len(course.levels), dp, course.releases, course.min_survivors, course.cohort)
        self.length, self.bits, self.curve = self._how.length, self._how.bits, self._how.curve
        self.what = MOMENTS_TOLD[1]

    def tell(self, site: SiteRows, random: RandomBytes) -> np.ndarray:
        return self._how.hide(tell_moments(site.x, self._unit, self._course.federation.dp is not None), random)

    def after(self, parts: Sequence[Part]) -> Progress:
        total, _ = counted(self._how, parts)
        found = described(total, self._how, self._unit, self._course.levels)
        model, strategy = self._course.model(found)
        state = strategy.start(model.start(self._course.federation.model.seed))
        progress = Progress(self._progress.known, state.sent, state.kept)
        return moved(progress, self.curve, stage=TRAINING, described=found)


class Training:
    """One round of the strategy."""

    def __init__(self, course: Course, progress: Progress) -> None:
        known = progress.known
        assert known.described is not None
        self._course, self._progress = course, progress
        self._described = known.described
        _, self._strategy = course.model(known.described)
        self._state = State(known.round, progress.sent, progress.kept, known.ended)
        self._telling = course.telling(known.described)
        self._plan: Plan | None = None
        self._terms = Terms(total=known.described.total)
        self.length, self.bits, self.curve = self._strategy.layout.size, 64, None
        if self._telling is not None:
            reach = known.reach or self._telling.terms.reach
            self._terms = msgspec.structs.replace(self._telling.terms, reach=reach)
            self._plan = self._telling.plan(reach, turn(course.federation.model.seed, known.round))
            self.length, self.bits, self.curve = self._plan.size, self._plan.modulus_bits, self._telling.curve
        self.what = f"the sum of round {known.round + 1}"

    def tell(self, site: SiteRows, random: RandomBytes) -> np.ndarray:
        known = self._progress.known
        rows = site.ready(self._described, self._course.model(self._described)[0])
        memory = site.memory(known.latest)
        seed = np.random.default_rng([self._course.federation.model.seed, site.number, known.round])
        vector, remembered = self._strategy.contribution(self._state, memory, rows, self._terms, seed)
        site.remember(known.round + 1, remembered)
        return vector.view(np.uint64) if self._plan is None else encode(vector, self._plan, random)

    def after(self, parts: Sequence[Part]) -> Progress:
        known, layout = self._progress.known, self._strategy.layout
        survivors = [name for part in parts for name in part.clients]
        total = self._added(parts, len(survivors))
        try:
            state = self._strategy.step(self._state, total, len(survivors))
        except Invalid:
            if self.curve is None:
                raise
            # the sum is known, and so it is spent: this round has come to nothing, and the next is another release
            state = State(self._state.round + 1, self._state.sent, self._state.kept)
        weight, loss, clipped = (float(total[layout.places[n].start]) for n in (WEIGHT, LOSS, CLIPPED))
        reach = known.reach
        if self._telling is not None and self._telling.private is None:
            reach = next_reach(self._terms.reach, clipped)
        last = state.done or state.round >= self._course.federation.rounds
        return moved(
            Progress(known, state.sent, state.kept),
            self.curve,
            stage=self._course.after_training() if last else TRAINING,
            round=state.round,
            ended=state.done,
            reach=reach,
            loss=loss / weight if weight > 0 else None,
            clipped=clipped / weight if weight > 0 else None,
            latest={**known.latest, **dict.fromkeys(survivors, state.round)},
        )

    def _added(self, parts: Sequence[Part], survivors: int) -> np.ndarray:
        rule, layout = self._course.federation.robust, self._strategy.layout
        if self._plan is None:
            vectors = [part.vector.view(np.float64) for part in parts]
            if rule is None:
                return plain_sum(vectors)
            kept = admit(((p.clients[0], v) for p, v in zip(parts, vectors, strict=True)), layout, self._terms).kept
            return combine(rule, list(kept.values()), layout)
        if rule is None:
            added = modular_sum([part.vector for part in parts], self.bits)
            return decode(added, survivors, self._plan)
        sums = {i: (decode(p.vector, len(p.clients), self._plan), len(p.clients)) for i, p in enumerate(parts)}
        return combine_buckets(rule, sums, layout, self._course.min_survivors)


class Growing:
    """One sum of trees: about columns, or of the histograms of a level."""

    def __init__(self, course: Course, progress: Progress) -> None:
        assert progress.known.growth is not None
        self._course, self._progress, self._growth = course, progress, progress.known.growth
        self.length, self.bits = self._growth.size, modulus_bits(self._growth, MOST_ROWS)
        self.curve: Curve | None = None
        self.what = f"{self._growth.stage} of tree {len(self._growth.trees) + 1}"

    def tell(self, site: SiteRows, random: RandomBytes) -> np.ndarray:
        return encode_whole(site.trees.tell(self._growth), self.bits)

    def after(self, parts: Sequence[Part]) -> Progress:
        total = decode_whole(modular_sum([part.vector for part in parts], self.bits), self.bits)
        growth = step(self._growth, total)
        stage = self._course.after_training() if growth.done else self._progress.known.stage
        return moved(self._progress, None, stage=stage, growth=growth, round=len(growth.trees))


def counted(how: Counting, parts: Sequence[Part]) -> tuple[np.ndarray, int]:
    """The sum `(length,)` int64 over all parts, and of how many sites it is."""
    return how.found(modular_sum([part.vector for part in parts], how.bits)), sum(len(part.clients) for part in parts)


def moved(progress: Progress, curve: Curve | None, **known: object) -> Progress:
    """Progress with other things known, and a curve more spent."""
    spent = progress.known.spent if curve is None else add([c for c in (progress.known.spent, curve) if c])
    now: Known = msgspec.structs.replace(progress.known, spent=spent, **known)
    return msgspec.structs.replace(progress, known=now)


def require_uint64(vector: np.ndarray, question: Question) -> None:
    """Raises Invalid for an answer that is not what was asked for."""
    if vector.dtype != np.uint64 or vector.shape != (question.length,):
        raise Invalid(f"the answer is {vector.dtype} of {vector.shape} (accepted: uint64 of ({question.length},)).")
