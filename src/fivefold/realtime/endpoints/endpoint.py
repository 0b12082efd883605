"""An endpoint: a champion that answers rows, and is replaced while it does when another version is promoted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid, NotFound, Unavailable
from fivefold.core.time import SECOND, duration, moment
from fivefold.core.uses import Endpoint
from fivefold.features.recent import FeatureCache
from fivefold.ports.online import OnlineStore
from fivefold.realtime.batching.cache import PredictionCache
from fivefold.realtime.endpoints.answers import Answered, Answers
from fivefold.realtime.endpoints.labels import labelled_loss, require_label
from fivefold.realtime.endpoints.loading import Loader, warm
from fivefold.realtime.endpoints.trial import Trial
from fivefold.realtime.endpoints.trying import Trying
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.prediction_log.logged import entry, prediction_id
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.bounds import Expired
from fivefold.realtime.protocols.oip_about import Counts
from fivefold.realtime.telemetry.tally import Tallies
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import Prediction
from fivefold.workspace.served import CHAMPION, Served

POLL_SECONDS = 0.5
"""How often an endpoint looks whether another version is champion."""

AGAIN_SECONDS = 5.0
"""How long a champion that could not be loaded is left alone before it is tried again."""


_RECORDED, _SMALL = 64, 16
"""So many requests of so few rows are remembered."""


class Live:
    """A champion in use. `refresh` looks for another one; what answers meanwhile is always whole."""

    def __init__(
        self,
        workspace: Workspace,
        endpoint: Endpoint,
        store: OnlineStore,
        log: PredictionLog,
        at: int | None = None,
    ) -> None:
        self._at = at
        self.name = endpoint.name
        self.slo = None if endpoint.slo is None else duration(endpoint.slo) * 1000
        """The time promised for an answer, in nanoseconds; None for none."""
        self.cache = None if endpoint.cache is None else PredictionCache(duration(endpoint.cache) / SECOND)
        every = endpoint.feature_cache
        self.feature_cache = None if every is None else FeatureCache(duration(every) / SECOND)
        self.tenant = f"{workspace.project.name}/{workspace.env.name}"
        self._workspace = workspace
        self._loader = Loader(workspace, endpoint, self.cache, self.tenant, self.feature_cache)
        self._store = store
        self._log = log
        self._using: Answers | None = None
        self._failed: tuple[Mapping[str, int | None], float] | None = None
        self._lacks = endpoint.model.name
        self.trouble: FivefoldError | None = None
        """Why the champion is not the version that answers, None when it is."""
        self.counts = Counts()
        self._counting = threading.Lock()
        self.tallies = Tallies()
        rollout = endpoint.rollout
        self._trying = None if rollout is None else Trying(workspace, store, self, self._loader, rollout)
        self._recorded: deque[Batch] = deque(maxlen=_RECORDED)
        """Requests that came last: a version is asked them before it answers anybody."""
        self.refresh()

    @property
    def served(self) -> Served | None:
        """The version that answers now, None before the first promotion."""
        return self._using.served if self._using else None

    @property
    def using(self) -> Answers:
        """What answers now. Raises Unavailable when there is none."""
        if self._using is None:
            what = self.trouble or Unavailable(
                f"the model {self._lacks!r} of the endpoint {self.name!r} has no champion yet."
                if self._loader.models[1:]
                else f"the model of the endpoint {self.name!r} has no champion yet."
            )
            raise Unavailable(what.message, hint=what.hint or f"Run `fivefold train {self._lacks}`.")
        return self._using

    @property
    def signature(self) -> Signature:
        """What it takes and gives now. Raises Unavailable when there is no champion to answer."""
        return self.using.signature

    @property
    def key(self) -> str:
        """The key of what answers now, empty before the first promotion."""
        return self._using.signature.key if self._using else ""

    @property
    def fields(self) -> Mapping[str, str]:
        """What a row must hold, with types."""
        return {} if self._using is None else {n: k.value for n, k in self._using.fields.items()}

    @property
    def example(self) -> Mapping[str, Any]:
        """Request values of a row that the version was tested on."""
        return {} if self._using is None else self._using.example

    def materialised(self) -> dict[str, str | None]:
        """By feature view, the moment its values were made for; None for one that holds none yet.

        Raises Unavailable when the store does not answer.
        """
        if self._using is None:
            return {}
        moments = self._using.materialised(self._store)
        return {view: None if at is None else moment(at) for view, at in moments.items()}

    def rollout(self) -> dict[str, Any] | None:
        """What is known of a version on trial; None when there is none."""
        return None if self._trying is None else self._trying.about()

    @property
    def trial(self) -> Trial | None:
        """The trial of a version on trial; None when there is none."""
        return None if self._trying is None else self._trying.trial

    def close(self) -> None:
        """Write down what is known of a version on trial."""
        if self._trying is not None:
            self._trying.close()

    def require_label(self, label: Any) -> None:
        """Raise Invalid for a label that the model cannot have."""
        require_label(self.using.signature, label)

    def labelled(self, prediction: Prediction, label: Any) -> None:
        """The truth about a prediction came. Raises Invalid for a label that the model cannot have."""
        loss = labelled_loss(self.using.signature, prediction.prediction, label)
        if self._trying is not None:
            self._trying.lost(prediction.versions, loss)

    def refresh(self) -> None:
        """Change to the champion if it is another one, and look after a version on trial.

        A champion that cannot be loaded leaves the old one in use; a version on trial that cannot is not tried.
        """
        self._look_for_champion()
        if self._trying is not None and self._using is not None:
            promoted = self._trying.look(self._using)
            if promoted is not None:
                # it has answered already: nothing has to be loaded
                self._using = promoted

    def try_out(self, new: Answers) -> None:
        """Ask a version, before it answers anybody, the row that it was tested on and the requests that came last."""
        at = self._workspace.clock() if self._at is None else self._at
        # what is cached are answers that somebody got
        cache, new.cache = new.cache, None
        warm(new, self._store, at)
        for batch in list(self._recorded):
            with suppress(FivefoldError):
                new.answer(self._store, [batch], at)
        new.cache = cache

    def _look_for_champion(self) -> None:
        held: dict[str, int | None] = {}
        try:
            aliases = self._workspace.catalog.aliases
            held = {model: aliases.current(model, CHAMPION) for model in self._loader.models}
            versions = {model: number for model, number in held.items() if number is not None}
            if len(versions) < len(held):
                self._lacks = next(model for model in held if model not in versions)
                self.trouble = None
            elif self._using is not None and self._using.versions == versions:
                self.trouble = None
            elif self._failed is None or self._failed[0] != held or time.monotonic() > self._failed[1]:
                self._using = self._ready(self._loader.load(versions, self._using))
                self.trouble = self._failed = None
        except FivefoldError as e:
            self._note(e, held)
        except Exception as e:  # a library may raise anything over a damaged model
            self._note(Invalid(f"{_named(held)} cannot be loaded: {type(e).__name__}: {e}."), held)

    def _ready(self, new: Answers) -> Answers:
        """The new version, unless it would answer without features that the one in use has. Raises NotFound then."""
        old, store = self._using, self._store
        if old is not None and not old.missing(store) and (missing := new.missing(store)):
            raise NotFound(
                f"{_named(new.versions)} is champion, but the online store holds no values of "
                f"{', '.join(missing)} as it means them: version {old.served.version.number} goes on.",
                hint="Run `fivefold materialize`; it is picked up by itself.",
            )
        if old is not None:
            self.try_out(new)
        return new

    def _note(self, trouble: FivefoldError, held: Mapping[str, int | None]) -> None:
        self.trouble = trouble
        self._failed = (held, time.monotonic() + AGAIN_SECONDS) if held else None

    def answer(self, batch: Batch) -> Outcome:
        """Answer the rows of a batch, in order; a bad row fails alone.

        Features are as of the moment that the batch asks for, else of the fixed moment that is served for, else of now.
        Raises Invalid for a moment before what the store answers for, NotFound for a version that does not answer,
        Expired when the batch's time is over, Unavailable when there is no champion to answer, or the store of features
        does not answer.
        """
        if batch.deadline is not None and time.perf_counter_ns() >= batch.deadline:
            self._count(batch, failed=True)
            self.counts.missed += 1
            raise Expired("the time that the request was given was over before it was answered.", hint="Give it more.")
        return self.answer_together([batch])[0]

    def answer_together(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Answer batches that ask for the same version and moment with one call of the model: each as it is alone.

        Deadlines are the caller's business. May run in any thread. Raises what `answer` raises, for all of them, and
        InFlight on an event loop while a thread makes one of them.
        """
        using, trying = self.using, self._trying
        if trying is None or not trying.knows(batches[0].version):
            using.signature.require_version(batches[0].version)
        at = batches[0].at
        if at is None:
            at = self._workspace.clock() if self._at is None else self._at
        if trying is None:
            return self.answered_by(using, batches, at)
        self._recorded.extend(b for b in batches[:4] if b.size <= _SMALL)
        return trying.answer(using, batches, at)

    def answered_by(self, using: Answers, batches: Sequence[Batch], at: int) -> list[Outcome]:
        """What a version answers. Raises what `answer` raises."""
        try:
            answered = using.answer(self._store, batches, at)
        except FivefoldError:
            for batch in batches:
                self._count(batch, failed=True)
                self.tallies.of(using.served.version.number, using.names).add(
                    time.perf_counter_ns() - batch.started, batch.size, batch.size, ()
                )
            raise
        outcomes, first = [], 0
        for batch in batches:
            outcomes.append(self.outcome_of(using, answered[first : first + batch.size], at, batch))
            first += batch.size
        return outcomes

    def outcome_of(
        self, using: Answers, answered: Sequence[Answered | FivefoldError], at: int, batch: Batch
    ) -> Outcome:
        """An outcome of what a version answered to a batch, logged."""
        out = Outcome(using.signature, at, using.names, [], {}, [], [], [])
        statuses: list[Sequence[str]] = []
        for i, found in enumerate(answered):
            if isinstance(found, FivefoldError):
                out.errors[i] = found
                out.add(None, None, [], "")
            else:
                out.add(found.prediction, found.vector, found.warnings, self._logged(using, found, at, batch))
                statuses.append(found.vector.statuses)
        now = time.perf_counter_ns()
        self.tallies.of(using.served.version.number, using.names).add(
            now - batch.started, batch.size, len(out.errors), statuses
        )
        if batch.stages is not None and not batch.stages.answered:
            batch.stages.answered = now
        self._count(batch, failed=len(out.errors) == batch.size)
        return out

    def warm(self) -> None:
        """Answer the row that the version was tested on some times, for nobody, so that the first request is quick."""
        if self._using is not None:
            warm(self._using, self._store, self._workspace.clock() if self._at is None else self._at)

    def _count(self, batch: Batch, failed: bool) -> None:
        took = time.perf_counter_ns() - batch.started
        counts = self.counts
        with self._counting:
            if failed:
                counts.failed += 1
                counts.failed_nanoseconds += took
            else:
                counts.answered += 1
                counts.rows += batch.size
                counts.nanoseconds += took

    def _logged(self, using: Answers, found: Answered, at: int, batch: Batch) -> str:
        """The identifier of an answer, which is on its way to the log."""
        now = self._workspace.clock()
        made = prediction_id(now)
        self.counts.last = now
        self._log.put(entry(made, now, self.name, using, found, at, batch.started), made)
        return made


def _named(versions: Mapping[str, int | None]) -> str:
    return ", ".join(f"{model}@{number}" for model, number in versions.items())
