"""How an endpoint tries a version: it is loaded beside the champion, answers its share, and stays or goes.

Whatever a version on trial does, who asks gets an answer: what a canary fails on, the champion answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from fivefold.core.errors import FivefoldError
from fivefold.core.uses import Canary, Shadow
from fivefold.models.rollout import Decision
from fivefold.ports.online import OnlineStore
from fivefold.realtime.batching.cache import InFlight, PredictionCache
from fivefold.realtime.endpoints.answers import Answered, Answers
from fivefold.realtime.endpoints.loading import Loader
from fivefold.realtime.endpoints.trial import CANARY, SHADOW, Comparison, Trial, conclude
from fivefold.realtime.protocols.batch import Batch, Outcome
from fivefold.workspace import Workspace
from fivefold.workspace.served import CHAMPION

AGAIN_SECONDS = 5.0
"""How long a version that could not be loaded is left alone before it is tried again."""

_WAITING = 64
"""Requests that may wait for a shadow's answer; what comes beyond them is not compared."""

_logger = logging.getLogger("fivefold.serving")


class Host(Protocol):
    """The endpoint that tries."""

    name: str
    slo: int | None
    cache: PredictionCache | None
    tenant: str

    def answered_by(self, using: Answers, batches: Sequence[Batch], at: int) -> list[Outcome]: ...

    def outcome_of(
        self, using: Answers, answered: Sequence[Answered | FivefoldError], at: int, batch: Batch
    ) -> Outcome: ...

    def try_out(self, new: Answers) -> None: ...


class Trying:
    """The version that an endpoint tries, if there is one."""

    def __init__(
        self, workspace: Workspace, store: OnlineStore, host: Host, loader: Loader, rollout: Canary | Shadow
    ) -> None:
        self._workspace, self._store, self._host, self._loader = workspace, store, host, loader
        self._rollout = rollout
        self._role = CANARY if isinstance(rollout, Canary) else SHADOW
        self._tried: tuple[Trial, Answers] | None = None
        self._beside_versions: Mapping[str, int] = {}
        self._failed: tuple[str, int, float] | None = None
        self._room = threading.Semaphore(_WAITING)
        self._beside = ThreadPoolExecutor(1, f"shadow of {host.name}")

    def about(self) -> dict[str, Any] | None:
        """What is known of the version on trial."""
        return None if self._tried is None else self._tried[0].about()

    @property
    def trial(self) -> Trial | None:
        """The trial of the version on trial, as of the last look."""
        return None if self._tried is None else self._tried[0]

    def knows(self, version: str) -> bool:
        """Whether a version that a request names is the canary."""
        return (trial := self.trial) is not None and trial.asked_for(version)

    def lost(self, versions: Mapping[str, int], loss: float) -> None:
        """The label of an answer came, which these versions had made: how wrong it was."""
        if (trial := self.trial) is not None and trial.model in versions:
            trial.lost(versions[trial.model], loss)

    def close(self) -> None:
        """Write down what is known."""
        self._beside.shutdown(cancel_futures=True)
        if self._tried is not None:
            with suppress(FivefoldError):
                self._tried[0].settle()

    def look(self, champion: Answers) -> Answers | None:
        """Look after the version on trial beside a champion; gives it when it has become champion itself.

        Of several models the first that has one is tried, the others after it. One that cannot be loaded is not tried,
        and a store that does not answer is asked again the next time.
        """
        model, number = "", None
        try:
            for model in self._loader.models:
                change = self._workspace.catalog.aliases.at(model, self._role, self._workspace.clock())
                number, began = (None, 0) if change is None else (change.version, change.number)
                if number is not None and number != champion.versions[model]:
                    break
            else:
                self._tried = None
                return None
            if self._trial_is_another(champion, model, number, began):
                self._begin(champion, model, number, began)
            elif self._tried is not None:
                return self._settle(*self._tried)
        except Exception as e:  # a library may raise anything over a damaged model; the champion goes on
            self._failed = None if number is None else (model, number, time.monotonic() + AGAIN_SECONDS)
            _logger.warning("%s of %s, version %s: %s", self._role, self._host.name, number, e)
        return None

    def _trial_is_another(self, champion: Answers, model: str, number: int, began: int) -> bool:
        trial = self.trial
        return (
            trial is None
            or (trial.model, trial.other, trial.began) != (model, number, began)
            or self._beside_versions != champion.versions
        )

    def _begin(self, champion: Answers, model: str, number: int, began: int) -> None:
        self._tried = None
        failed = self._failed
        if failed is not None and failed[:2] == (model, number) and time.monotonic() < failed[2]:
            return
        host = self._host
        other = self._loader.load({**champion.versions, model: number}, champion)
        host.try_out(other)
        main = champion.served.version.model
        trial = Trial(
            self._store,
            host.name,
            self._rollout,
            champion.versions[model],
            number,
            began,
            model=model,
            member=model != main,
        )
        self._beside_versions = champion.versions
        self._tried, self._failed = (trial, other), None

    def _settle(self, trial: Trial, other: Answers) -> Answers | None:
        verdict = trial.settle()
        if verdict is None or verdict.decision is Decision.WAIT:
            return None
        if conclude(self._workspace, trial.model, self._host.name, trial, verdict):
            trial.forget()
        champion = self._workspace.catalog.aliases.current(trial.model, CHAMPION)
        self._tried = None
        return other if champion == trial.other else None

    def answer(self, using: Answers, batches: Sequence[Batch], at: int) -> list[Outcome]:
        """What the champion and the version on trial answer, each its requests. Raises what the champion raises."""
        tried = self._tried
        if tried is None:
            return self._host.answered_by(using, batches, at)
        trial, other = tried
        picked = [i for i, batch in enumerate(batches) if trial.picks(batch)]
        found: dict[int, Outcome] = {}
        if picked:
            answers = self._tried_by(trial, other, [batches[i] for i in picked], at)
            found = {i: outcome for i, outcome in zip(picked, answers, strict=True) if outcome is not None}
        left = [i for i in range(len(batches)) if i not in found]
        if left:
            rest = self._host.answered_by(using, [batches[i] for i in left], at)
            found.update(zip(left, rest, strict=True))
            mine = set(picked)
            own = [i for i in left if i not in mine]
            self._tell(trial, [batches[i] for i in own], [found[i] for i in own])
            # what the champion cannot answer either says nothing of the version on trial
            failed = [i for i in left if i in mine]
            trial.answered(trial.other, len(failed), sum(not _wrong(batches[i], found[i]) for i in failed), 0)
        outcomes = [found[i] for i in range(len(batches))]
        self._shadow(trial, other, batches, outcomes, at)
        return outcomes

    def _tried_by(self, trial: Trial, other: Answers, batches: Sequence[Batch], at: int) -> list[Outcome | None]:
        """What the version on trial answers; None for a request that it fails on: that is the champion's then."""
        try:
            answered = other.answer(self._store, batches, at)
        except InFlight:
            raise  # nothing was made: they ask again
        except Exception:  # whatever it raises, those who asked get an answer
            return [None] * len(batches)
        out: list[Outcome | None] = []
        first = 0
        for batch in batches:
            mine = answered[first : first + batch.size]
            first += batch.size
            # a row that was refused before anybody saw it says nothing of the version
            wrong = any(isinstance(a, FivefoldError) and i not in batch.refused for i, a in enumerate(mine))
            outcome = None if wrong else self._host.outcome_of(other, mine, at, batch)
            out.append(outcome)
            if not wrong:
                trial.answered(trial.other, 1, 0, int(self._is_late(batch)))
        return out

    def _tell(self, trial: Trial, batches: Sequence[Batch], outcomes: Sequence[Outcome]) -> None:
        wrong = sum(_wrong(b, o) for b, o in zip(batches, outcomes, strict=True))
        trial.answered(trial.champion, len(batches), wrong, sum(map(self._is_late, batches)))

    def _is_late(self, batch: Batch) -> bool:
        return self._host.slo is not None and time.perf_counter_ns() - batch.started > self._host.slo

    def _shadow(
        self, trial: Trial, other: Answers, batches: Sequence[Batch], outcomes: Sequence[Outcome], at: int
    ) -> None:
        """Have the shadow answer as well, in a thread of its own; what it cannot keep up with is left out."""
        if trial.role != SHADOW:
            return
        for batch, outcome in zip(batches, outcomes, strict=True):
            if trial.shadows() and self._room.acquire(blocking=False):
                self._beside.submit(self._compare, trial, other, batch, outcome.predictions, at)

    def _compare(self, trial: Trial, other: Answers, batch: Batch, predictions: Sequence[Any], at: int) -> None:
        self._room.release()
        try:
            answered = other.answer(self._store, [batch], at)
        except Exception:  # it is for nobody
            trial.answered(trial.other, 1, 1, 0)
            return
        pairs = [
            (p, a.prediction)
            for p, a in zip(predictions, answered, strict=True)
            if p is not None and isinstance(a, Answered)
        ]
        wrong = any(isinstance(a, FivefoldError) and i not in batch.refused for i, a in enumerate(answered))
        trial.answered(trial.other, 1, int(wrong), 0)
        apart = [_distance(p, q) for p, q in pairs]
        trial.compared(Comparison(len(apart), sum(d > 0 for d in apart), sum(apart), max(apart, default=0.0)))


def _wrong(batch: Batch, outcome: Outcome) -> bool:
    """Whether a row failed that was not refused before anybody saw it."""
    return any(i not in batch.refused for i in outcome.errors)


def _distance(one: Any, other: Any) -> float:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return float(max(abs(p - q) for p, q in zip(one, other, strict=True)))
    if isinstance(one, float) and isinstance(other, float):
        return float(abs(one - other))
    return float(one != other)
