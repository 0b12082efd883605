"""What one version needs to answer rows, made once: its fields, checks, look-ups and predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.fallback import standing
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema
from fivefold.features.lookup import FALLBACK, Lookup, Seen, Vector
from fivefold.features.recent import FeatureCache
from fivefold.features.state.mark import mark_of
from fivefold.models.predictor import Miscounted
from fivefold.ports.online import OnlineStore
from fivefold.realtime.batching.cache import PredictionCache, key_of, maker, seen_bytes
from fivefold.realtime.batching.isolate import OutOfCalls, Systematic, isolate
from fivefold.realtime.endpoints.answers import Answered
from fivefold.realtime.endpoints.fallback import Fallback
from fivefold.realtime.endpoints.rules import Rules
from fivefold.realtime.protocols.batch import Batch, Signature
from fivefold.realtime.telemetry.stages import note
from fivefold.workspace.prediction_files import StepsUsed
from fivefold.workspace.served import Served


class Answering:
    """A version that answers; whatever is wrong with a row fails that row alone."""

    def __init__(
        self,
        endpoint: str,
        served: Served,
        cache: PredictionCache | None = None,
        tenant: str = "",
        recent: FeatureCache | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> None:
        self.served = served
        self.cache = cache
        self._made_of: tuple[Mapping[str, Seen], bytes] | None = None
        self.lookup = Lookup(served.model, served.schemas, served.scales, served.online_name, recent)
        self._looked_up = self.lookup.vectors
        if fallback is not None:
            values = standing(fallback, served.model, served.schemas)
            self._looked_up = Fallback(self.lookup, values).vectors
        self.fields: Schema = self.lookup.fields
        self.names: Sequence[str] = self.lookup.names
        self._rules = _request_rules(served, self.lookup)
        version, about = served.version, served.loaded.about
        self.versions: Mapping[str, int] = {version.model: version.number}
        self.used: StepsUsed | None = None
        # a version is all that it was trained under, definitions and code too: its key is the digest of that
        self._maker = maker(tenant, endpoint, version.model, str(version.number), version.key, "prediction")
        classes = None if about.classes is None else tuple(about.classes)
        self.signature = Signature(
            endpoint,
            version.model,
            version.number,
            version.key,
            self.lookup.fields,
            about.task,
            f"fivefold_{about.format}",
            classes,
        )

    @property
    def example(self) -> Mapping[str, Any]:
        """Request values of a row that the version was tested on."""
        return self.served.loaded.example

    def materialised(self, store: OnlineStore) -> dict[str, int | None]:
        """By feature view, the moment (µs UTC) from which its values answer; None for one that holds none."""
        return self.lookup.materialised(store)

    def missing(self, store: OnlineStore) -> list[str]:
        """Feature views of which the store holds no values."""
        served = self.served
        return [v.name for v in served.views if mark_of(store, served.online_name(v)) is None]

    def answer(self, store: OnlineStore, batches: Sequence[Batch], at: int) -> list[Answered | FivefoldError]:
        """An answer or an error for each row of each batch, in order, from features as of `at` (microseconds UTC).

        Raises Unavailable when the store does not answer, Invalid when it does not answer for that moment any more.
        """
        traced = [b.stages for b in batches if b.stages is not None and not b.stages.called]
        if traced:
            note("called", traced)
        out: list[Answered | FivefoldError | None] = [None] * sum(b.size for b in batches)
        taken: list[tuple[int, dict[str, Any], list[str]]] = []
        first = 0
        for batch in batches:
            self._take(batch, first, out, taken)
            first += batch.size
        found = self._looked_up(store, [row for _, row, _ in taken], at) if taken else []
        if traced:
            note("looked_up", traced)
        good: list[tuple[int, dict[str, Any], list[str], Vector]] = []
        for (i, row, warnings), vector in zip(taken, found, strict=True):
            if isinstance(vector, FivefoldError):
                out[i] = vector
            else:
                good.append((i, row, warnings, vector))
        predicted = self._predictions(good) if good else []
        if traced:
            note("predicted", traced)
        for (i, row, warnings, vector), prediction in zip(good, predicted, strict=True):
            if isinstance(prediction, FivefoldError):
                out[i] = prediction
            else:
                out[i] = Answered(row, vector, prediction, warnings + self._missing(vector))
        return [o for o in out if o is not None]

    def _take(
        self,
        batch: Batch,
        first: int,
        out: list[Answered | FivefoldError | None],
        taken: list[tuple[int, dict[str, Any], list[str]]],
    ) -> None:
        """The rows of a batch, with what is odd about them, or their errors; its first row has the place `first`."""
        # a batch may have been read just before another version came, which takes other fields
        checked = batch.fields is self.lookup.fields or batch.fields == self.lookup.fields
        for i, row in enumerate(batch.rows()):
            if i in batch.refused:
                out[first + i] = batch.refused[i]
                continue
            try:
                if not checked:
                    row = self.lookup.accept(row)
                taken.append((first + i, row, self._rules.warnings(row)))
            except FivefoldError as e:
                out[first + i] = e

    def _missing(self, vector: Vector) -> list[str]:
        if FALLBACK in vector.statuses:
            return ["the online store does not answer: declared values stand for what would be looked up"]
        return [
            f"no values of the feature view {name!r} have been materialised"
            for name in self.lookup.views
            if name not in vector.seen
        ]

    def _predictions(self, good: Sequence[tuple[int, dict[str, Any], list[str], Vector]]) -> list[Any]:
        """A prediction or an error for each; of rows that are made from the same, it is made once."""
        vectors = [vector for *_, vector in good]
        cache = self.cache
        if cache is None:
            return self._predict(vectors)
        keys = [self._key(row, vector) for _, row, _, vector in good]
        return cache.through(keys, lambda places: self._predict([vectors[i] for i in places]))

    def _key(self, row: Mapping[str, Any], vector: Vector) -> bytes:
        known = self._made_of
        if known is None or known[0] is not vector.seen:
            # what was seen is one object until something is written
            known = self._made_of = (vector.seen, seen_bytes(vector.seen))
        return key_of(self._maker, known[1], [row[n] for n in self.lookup.fields], vector.values)

    def _predict(self, vectors: Sequence[Vector]) -> list[Any]:
        """Predictions of rows; when they fail together, they are asked by halves, so that only bad ones fail."""
        encoding, predictor = self.served.loaded.encoding, self.served.loaded.predictor
        out: list[Any] = [None] * len(vectors)
        places, rows = [], []
        for i, vector in enumerate(vectors):
            try:
                rows.append(encoding.row(vector.values))
                places.append(i)
            except FivefoldError as e:
                out[i] = e
        if not rows:
            return out
        matrix = rows[0] if len(rows) == 1 else np.concatenate(rows)

        def call(start: int, stop: int) -> list[Any]:
            try:
                found: list[Any] = predictor.predict(matrix[start:stop]).tolist()
            except Miscounted as e:
                raise Systematic(e.message) from None
            return found

        for i, (prediction, error) in zip(places, isolate(call, len(rows)), strict=True):
            out[i] = prediction if error is None else _failure(error)
        return out


def _failure(error: Exception) -> FivefoldError:
    if isinstance(error, FivefoldError):
        return error
    if isinstance(error, OutOfCalls):
        return Invalid("the model failed on too many rows of this request.", hint="Ask for fewer rows at once.")
    if isinstance(error, Systematic):
        return Invalid(f"{error}"[:500])
    return Invalid(f"the model failed on this row: {error}.")


def _request_rules(served: Served, lookup: Lookup) -> Rules:
    """Checks of the target's source that a request can be held to: those over fields that it carries."""
    source = rows_of(served.model.target.source)
    schema = served.schemas[source.name]
    # what a field is called with may be wider than the column: a whole number for a float
    return Rules(source.checks, {c: lookup.fields.get(c, kind) for c, kind in schema.items()}, set(lookup.fields))
