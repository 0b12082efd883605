"""The features of a project for entities at a moment, in columns; whatever way they are asked for comes here."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.features import Feature, FeatureView
from fivefold.core.learning import Model
from fivefold.core.types import Schema, Type
from fivefold.features.lookup import Lookup, Seen, Vector
from fivefold.ports.online import OnlineStore
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.protocols.bounds import MOST_ROWS
from fivefold.workspace import Workspace
from fivefold.workspace.applied import require_applied
from fivefold.workspace.predictions import Prediction
from fivefold.workspace.served import online_name

MOST_FEATURES = 1000
MOST_VALUES = 1_000_000
"""Features times rows of one request."""

MOST_LOOKUPS = 256
"""How many different lists of features are kept ready."""


class Found(msgspec.Struct, frozen=True):
    """Features by name, each in a column with a value, a status and an event time (µs) a row."""

    as_of: int
    types: Mapping[str, Type]
    values: Sequence[Sequence[Any]]
    statuses: Sequence[Sequence[str]]
    event_times: Sequence[Sequence[int | None]]
    seen: Mapping[str, Seen]
    """What the values of each view were made of; a view that is not in it was never materialised."""


class _Asked(msgspec.Struct, frozen=True):
    """A list of features that is nobody's."""

    ref: str
    features: Sequence[Feature]


class FeatureService:
    """Looks up features of the project file, as it is applied.

    Without a fixed moment `at` (µs UTC), what asks for none gets the values of now. With a `log`, the environment's
    share of requests is logged, each with one of its rows.
    """

    def __init__(
        self, workspace: Workspace, store: OnlineStore, at: int | None = None, log: PredictionLog | None = None
    ) -> None:
        self._log = log
        self._share = workspace.env.lookups_logged
        self._workspace = workspace
        self._store = store
        self._at = at
        self._ready: dict[tuple[str, ...], Lookup] = {}
        self._preparing = threading.Lock()
        self._views = {v.name: v for v in workspace.project.of(FeatureView.kind) if isinstance(v, FeatureView)}
        self._names = {f"{v.name}.{f.name}": (v, f.name) for v in self._views.values() for f in v.features}

    def lookup(self, names: Sequence[str] = (), model: str | None = None) -> Lookup:
        """The look-up of some features (`view.feature`), or of all that a model uses, the derived ones too.

        Raises NotFound for a name that is not declared, Conflict for one whose declaration is not applied.
        """
        if bool(names) == (model is not None):
            raise Invalid(
                f"{'both' if names else 'neither'} features and model were named.",
                hint='Send "features": ["view.feature", …], or "model": NAME.',
            )
        if len(names) > MOST_FEATURES:
            raise Invalid(f"{len(names)} features were named (accepted: {MOST_FEATURES} at most).")
        key = ("model", model) if model is not None else ("features", *names)
        found = self._ready.get(key)
        if found is None:
            made = self._prepare(names, model)
            with self._preparing:
                if len(self._ready) >= MOST_LOOKUPS:
                    del self._ready[next(iter(self._ready))]
                found = self._ready[key] = made
        return found

    def get(self, lookup: Lookup, rows: Sequence[object], at: int | None = None) -> Found:
        """The features of rows, each a mapping of entity keys and request values, as of a moment.

        Raises Invalid for a row that is wrong or a moment that is too early, Unavailable when the store is not there.
        """
        if not 0 < len(rows) <= MOST_ROWS:
            raise Invalid(f"{len(rows)} entities were asked about (accepted: 1 to {MOST_ROWS}).")
        if len(rows) * len(lookup.names) > MOST_VALUES:
            raise Invalid(
                f"{len(lookup.names)} features of {len(rows)} entities are too many values (accepted: {MOST_VALUES}).",
                hint="Ask about fewer entities at once.",
            )
        if at is None:
            at = self._workspace.clock() if self._at is None else self._at
        taken = []
        for i, row in enumerate(rows):
            try:
                taken.append(lookup.accept(row))
            except Invalid as e:
                raise Invalid(f"row {i}: {e.message}", hint=e.hint) from None
        vectors = lookup.vectors(self._store, taken, at)
        for i, vector in enumerate(vectors):
            if isinstance(vector, FivefoldError):
                raise Invalid(f"row {i}: {vector.message}", hint=vector.hint)
        good = [v for v in vectors if not isinstance(v, FivefoldError)]
        if self._log is not None and random.random() < self._share:
            i = random.randrange(len(good))
            now = self._workspace.clock()
            id = f"l{now:014x}{os.urandom(8).hex()}"
            self._log.put(partial(_entry, id, now, taken[i], lookup.names, good[i], at), id)
        return Found(
            at,
            lookup.types,
            list(zip(*[v.values for v in good], strict=True)),
            list(zip(*[v.statuses for v in good], strict=True)),
            list(zip(*[v.times for v in good], strict=True)),
            good[0].seen,
        )

    def _prepare(self, names: Sequence[str], model: str | None) -> Lookup:
        project = self._workspace.project
        if model is None:
            for name in names:
                if name not in self._names:
                    raise NotFound.named("feature", name[:200], self._names)
            chosen = [self._names[n] for n in names]
            features: Sequence[Feature] = [view[short] for view, short in chosen]
        else:
            noun = project.get(Model.kind, model)
            assert isinstance(noun, Model)
            features = noun.features
        wanted = _Asked("the request" if model is None else f"{Model.kind}:{model}", features)
        require_applied(self._workspace, [v.ref for v in _views_of(features)])
        schemas: dict[str, Schema] = {
            s.source: s.schema for n in project.of("table", "view") if (s := self._workspace.find_snapshot(n.name))
        }
        return Lookup(wanted, schemas, self._workspace.scales(), lambda view: online_name(project, view))


def _entry(id: str, now: int, row: dict[str, Any], names: Sequence[str], vector: Vector, at: int) -> Prediction:
    values, times, statuses, seen = vector
    features = dict(zip(names, zip(values, times, statuses, strict=True), strict=True))
    return Prediction(id, now, "", "", 0, "", row, features, at, seen, None, 0)


def _views_of(features: Sequence[Feature]) -> list[FeatureView]:
    found = [getattr(item, "view", item) for item in features]
    return [v for v in found if isinstance(v, FeatureView)]
