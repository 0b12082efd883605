"""An endpoint: a champion that answers rows, and is replaced while it does when another version is promoted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.expressions import parse
from fivefold.core.sources import Check, OnFail, rows_of
from fivefold.core.time import iso
from fivefold.core.uses import Endpoint
from fivefold.features.lookup import Lookup, Vector
from fivefold.ports.online import OnlineStore
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import Prediction
from fivefold.workspace.served import CHAMPION, Served, champion

POLL_SECONDS = 0.5
"""How often an endpoint looks whether another version is champion."""


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
    as_of: dict[str, str] | None = None
    warnings: list[str] | None = None
    error: dict[str, str] | None = None


class _Rule(NamedTuple):
    name: str
    on_fail: str
    columns: tuple[str, ...]
    holds: Callable[..., Any]


class Live:
    """A champion in use. `refresh` looks for another one; what answers meanwhile is always whole."""

    def __init__(self, workspace: Workspace, endpoint: Endpoint, store: OnlineStore, log: PredictionLog) -> None:
        self.name = endpoint.name
        self._workspace = workspace
        self._model = endpoint.model.name
        self._store = store
        self._log = log
        self._plan: _Plan | None = None
        self.trouble: FivefoldError | None = None
        self.refresh()

    @property
    def served(self) -> Served | None:
        """The version that answers now, None before the first promotion."""
        return self._plan.served if self._plan else None

    @property
    def fields(self) -> Mapping[str, str]:
        """What a row must hold, with types."""
        return {} if self._plan is None else {n: k.value for n, k in self._plan.lookup.fields.items()}

    @property
    def example(self) -> Mapping[str, Any]:
        """Request values of a row that the version was tested on."""
        return {} if self._plan is None else self._plan.example

    def refresh(self) -> None:
        """Change to the champion if it is another one; a champion that cannot be loaded leaves the old one in use."""
        try:
            held = self._workspace.catalog.aliases.current(self._model, CHAMPION)
            if held is not None and (self._plan is None or self._plan.served.version.number != held):
                self._plan = _Plan(champion(self._workspace, self._model))
            self.trouble = None
        except FivefoldError as e:
            self.trouble = e

    def answer(self, rows: Sequence[Any], started: int) -> tuple[Served, list[Answer]]:
        """Answer rows, in order; a bad row fails alone. `started` is when the request came (perf_counter_ns).

        Raises the reason when there is no champion to answer.
        """
        plan = self._plan
        if plan is None:
            raise self.trouble or Invalid(f"the endpoint {self.name!r} has no champion.")
        answers: list[Answer | None] = [None] * len(rows)
        good: list[int] = []
        warnings: dict[int, list[str]] = {}
        for i, row in enumerate(rows):
            try:
                warnings[i] = plan.check(row)
                good.append(i)
            except FivefoldError as e:
                answers[i] = Answer(error={"message": e.message, "hint": e.hint})
        if good:
            vectors = plan.lookup.vectors(self._store, [rows[i] for i in good])
            for i, vector, found in zip(good, vectors, plan.predict(vectors), strict=True):
                answers[i] = self._finish(plan, rows[i], vector, found, warnings[i], started)
        return plan.served, [a for a in answers if a is not None]

    def _finish(self, plan: _Plan, row: Any, vector: Vector, found: Any, warnings: list[str], started: int) -> Answer:
        if isinstance(found, FivefoldError):
            return Answer(error={"message": found.message, "hint": found.hint})
        now = self._workspace.clock()
        made = prediction_id(now)
        version = plan.served.version
        names = plan.lookup.names
        self._log.put(
            Prediction(
                made,
                now,
                self.name,
                version.model,
                version.number,
                version.key,
                dict(row),
                {n: (v, t, s) for n, v, t, s in zip(names, vector.values, vector.times, vector.statuses, strict=True)},
                vector.as_of,
                found,
                (time.perf_counter_ns() - started) // 1000,
            )
        )
        features = {
            n: Feature(v, s, None if t is None else iso(t))
            for n, v, t, s in zip(names, vector.values, vector.times, vector.statuses, strict=True)
        }
        return Answer(made, found, features, {v: iso(t) for v, t in vector.as_of.items()}, warnings or None)


class _Plan:
    """What a version needs to answer, made once."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.lookup = Lookup(served.model, served.schemas, served.online_name)
        self._classes = served.loaded.about.classes
        self._rules = _request_rules(served, self.lookup)
        self.example = served.loaded.example

    def check(self, row: Any) -> list[str]:
        """The warnings of a row. Raises Invalid for a row that cannot be answered."""
        if not isinstance(row, dict):
            raise Invalid(f"a row is an object, not {row!r}.", hint=f"Send the fields {', '.join(self.lookup.fields)}.")
        self.lookup.check(row)
        warnings = []
        for rule in self._rules:
            if rule.holds(*[row[c] for c in rule.columns]) is False:
                if rule.on_fail != OnFail.WARN:
                    shown = ", ".join(f"{c} = {row[c]!r}" for c in rule.columns)
                    raise Invalid(f"the row breaks the check {rule.name!r}: {shown}.")
                warnings.append(rule.name)
        return warnings

    def predict(self, vectors: Sequence[Vector]) -> list[Any]:
        """Predictions of rows; when they fail together, each is asked alone, so that only bad ones fail."""
        encoding, predictor = self.served.loaded.encoding, self.served.loaded.predictor
        try:
            matrix = np.concatenate([encoding.row(v.values) for v in vectors])
            return [self._plain(p) for p in predictor.predict(matrix)]
        except Exception as e:  # a model may raise anything; what it was asked together is asked one by one
            if len(vectors) == 1:
                return [e if isinstance(e, FivefoldError) else Invalid(f"the model failed on this row: {e}.")]
            return [self.predict([v])[0] for v in vectors]

    def _plain(self, found: Any) -> Any:
        if self._classes is None:
            return float(found)
        return {c: float(p) for c, p in zip(self._classes, found, strict=True)}


def _request_rules(served: Served, lookup: Lookup) -> list[_Rule]:
    """Checks of the target's source that a request can be held to: those over fields that it carries."""
    source = rows_of(served.model.target.source)
    schema = served.schemas[source.name]
    rules = []
    for item in source.checks:
        assert isinstance(item, Check)
        if item.rule == "row" and item.expression:
            condition = parse(item.expression, schema, item.name)
            if set(condition.columns) <= set(lookup.fields):
                rules.append(_Rule(item.name, item.on_fail, condition.columns, condition.function()))
    return rules


def prediction_id(now: int) -> str:
    """A new identifier that sorts by time: microseconds in hex, then 64 random bits."""
    return f"p{now:014x}{os.urandom(8).hex()}"
