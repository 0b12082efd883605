"""An endpoint: a champion that answers rows, and is replaced while it does when another version is promoted."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, NotFound, Unavailable
from fivefold.core.time import moment
from fivefold.core.uses import Endpoint
from fivefold.features.lookup import Vector
from fivefold.features.state.mark import mark_of
from fivefold.ports.online import OnlineStore
from fivefold.realtime.answering import Answering
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import Prediction
from fivefold.workspace.served import CHAMPION, Served, champion

POLL_SECONDS = 0.5
"""How often an endpoint looks whether another version is champion."""

AGAIN_SECONDS = 5.0
"""How long a champion that could not be loaded is left alone before it is tried again."""


class Feature(msgspec.Struct, frozen=True):
    """A feature as it was used: `event_time` is ISO 8601, null for what came with the request or was derived."""

    value: Any
    status: str
    event_time: str | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one row: a prediction, or an error that concerns this row alone."""

    id: str = ""
    prediction: Any = None
    features: dict[str, Feature] | None = None
    as_of: str | None = None
    warnings: list[str] | None = None
    error: dict[str, str] | None = None


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
        self._workspace = workspace
        self._model = endpoint.model.name
        self._store = store
        self._log = log
        self._using: Answering | None = None
        self._failed: tuple[int, float] | None = None
        self.trouble: FivefoldError | None = None
        """Why the champion is not the version that answers, None when it is."""
        self.refresh()

    @property
    def served(self) -> Served | None:
        """The version that answers now, None before the first promotion."""
        return self._using.served if self._using else None

    @property
    def fields(self) -> Mapping[str, str]:
        """What a row must hold, with types."""
        return {} if self._using is None else {n: k.value for n, k in self._using.lookup.fields.items()}

    @property
    def example(self) -> Mapping[str, Any]:
        """Request values of a row that the version was tested on."""
        return {} if self._using is None else self._using.served.loaded.example

    def materialised(self) -> dict[str, str | None]:
        """By feature view, the moment its values were made for; None for one that holds none yet.

        Raises Unavailable when the store does not answer.
        """
        if self._using is None:
            return {}
        moments = self._using.lookup.materialised(self._store)
        return {view: None if at is None else _iso(at) for view, at in moments.items()}

    def refresh(self) -> None:
        """Change to the champion if it is another one; a champion that cannot be loaded leaves the old one in use."""
        held = None
        try:
            held = self._workspace.catalog.aliases.current(self._model, CHAMPION)
            if held is None or (self._using is not None and self._using.served.version.number == held):
                self.trouble = None
            elif self._failed is None or self._failed[0] != held or time.monotonic() > self._failed[1]:
                self._using = self._ready(Answering(champion(self._workspace, self._model)))
                self.trouble = self._failed = None
        except FivefoldError as e:
            self._note(e, held)
        except Exception as e:  # a library may raise anything over a damaged model
            self._note(Invalid(f"{self._model}@{held} cannot be loaded: {type(e).__name__}: {e}."), held)

    def _ready(self, new: Answering) -> Answering:
        """The new version, unless it would answer without features that the one in use has. Raises NotFound then."""
        if self._using is not None and not self._missing(self._using) and (missing := self._missing(new)):
            raise NotFound(
                f"{self._model}@{new.served.version.number} is champion, but the online store holds no values of "
                f"{', '.join(missing)} as it means them: version {self._using.served.version.number} goes on.",
                hint="Run `fivefold materialize`; it is picked up by itself.",
            )
        return new

    def _missing(self, answering: Answering) -> list[str]:
        served = answering.served
        return [v.name for v in served.views if mark_of(self._store, served.online_name(v)) is None]

    def _note(self, trouble: FivefoldError, held: int | None) -> None:
        self.trouble = trouble
        self._failed = None if held is None else (held, time.monotonic() + AGAIN_SECONDS)

    def answer(self, rows: Sequence[Any], started: int, at: int | None = None) -> tuple[Served, list[Answer]]:
        """Answer rows, in order; a bad row fails alone. `started` is when the request came (perf_counter_ns).

        Features are as of `at` (microseconds UTC), else of the fixed moment that is served for, else of now. Raises
        Invalid for a moment before what the store answers for, Unavailable when there is no champion to answer, or
        the store of features does not answer.
        """
        using = self._using
        if using is None:
            what = self.trouble or Unavailable(f"the model of the endpoint {self.name!r} has no champion yet.")
            raise Unavailable(what.message, hint=what.hint or f"Run `fivefold train {self._model}`.")
        if at is None:
            at = self._workspace.clock() if self._at is None else self._at
        return using.served, [
            Answer(error={"message": found.message, "hint": found.hint})
            if isinstance(found, FivefoldError)
            else self._finish(using, *found, at, started)
            for found in using.answer(self._store, rows, at)
        ]

    def _finish(
        self,
        using: Answering,
        row: dict[str, Any],
        vector: Vector,
        found: Any,
        warnings: list[str],
        at: int,
        started: int,
    ) -> Answer:
        now = self._workspace.clock()
        made = prediction_id(now)
        version, names = using.served.version, using.lookup.names
        values, times, statuses, seen = vector
        took = (time.perf_counter_ns() - started) // 1000
        self._log.put(
            lambda: Prediction(
                made,
                now,
                self.name,
                version.model,
                version.number,
                version.key,
                row,
                dict(zip(names, zip(values, times, statuses, strict=True), strict=True)),
                at,
                seen,
                found,
                took,
            )
        )
        features = {
            n: Feature(v, s, None if t is None else _iso(t))
            for n, v, t, s in zip(names, values, times, statuses, strict=True)
        }
        return Answer(made, found, features, _iso(at), warnings or None)


_iso = lru_cache(4096)(moment)


def prediction_id(now: int) -> str:
    """A new identifier that sorts by time: microseconds in hex, then 64 random bits."""
    return f"p{now:014x}{os.urandom(8).hex()}"
