"""What one version needs to answer rows, made once: its fields, checks, look-ups and predictor."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.sources import rows_of
from fivefold.features.lookup import Lookup, Vector
from fivefold.ports.online import OnlineStore
from fivefold.realtime.protocols.batch import Batch, Signature
from fivefold.realtime.rules import Rules
from fivefold.workspace.served import Served


class Answered(NamedTuple):
    """A row as it was taken, the features it was answered from, the prediction, and what was odd about it.

    The prediction is a float64, or a list of one a class.
    """

    row: dict[str, Any]
    vector: Vector
    prediction: Any
    warnings: list[str]


class Answering:
    """A version that answers; whatever is wrong with a row fails that row alone."""

    def __init__(self, endpoint: str, served: Served) -> None:
        self.served = served
        self.lookup = Lookup(served.model, served.schemas, served.scales, served.online_name)
        self._rules = _request_rules(served, self.lookup)
        version, about = served.version, served.loaded.about
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

    def warm(self, store: OnlineStore, at: int, times: int = 20) -> None:
        """Answer the row that the version was tested on some times, for nobody."""
        example = self.served.loaded.example
        fields = self.lookup.fields
        with suppress(FivefoldError):  # what is wrong here is said to those who ask
            for _ in range(times):
                self.answer(store, Batch(fields, {n: (example.get(n),) for n in fields}, 1), at)

    def answer(self, store: OnlineStore, batch: Batch, at: int) -> list[Answered | FivefoldError]:
        """An answer or an error for each row, in order, from features as of `at` (microseconds UTC).

        Raises Unavailable when the store does not answer, Invalid when it does not answer for that moment any more.
        """
        out: list[Answered | FivefoldError | None] = [None] * batch.size
        taken: list[tuple[int, dict[str, Any], list[str]]] = []
        # a batch may have been read just before another version came, which takes other fields
        checked = batch.fields is self.lookup.fields or batch.fields == self.lookup.fields
        for i, row in enumerate(batch.rows()):
            if i in batch.refused:
                out[i] = batch.refused[i]
                continue
            try:
                if not checked:
                    row = self.lookup.accept(row)
                taken.append((i, row, self._rules.warnings(row)))
            except FivefoldError as e:
                out[i] = e
        found = self.lookup.vectors(store, [row for _, row, _ in taken], at) if taken else []
        good: list[tuple[int, dict[str, Any], list[str], Vector]] = []
        for (i, row, warnings), vector in zip(taken, found, strict=True):
            if isinstance(vector, FivefoldError):
                out[i] = vector
            else:
                good.append((i, row, warnings, vector))
        predicted = self._predict([vector for *_, vector in good]) if good else []
        for (i, row, warnings, vector), prediction in zip(good, predicted, strict=True):
            if isinstance(prediction, FivefoldError):
                out[i] = prediction
            else:
                out[i] = Answered(row, vector, prediction, warnings + self._missing(vector))
        return [o for o in out if o is not None]

    def _missing(self, vector: Vector) -> list[str]:
        return [
            f"no values of the feature view {name!r} have been materialised"
            for name in self.lookup.views
            if name not in vector.seen
        ]

    def _predict(self, vectors: Sequence[Vector]) -> list[Any]:
        """Predictions of rows; when they fail together, each is asked alone, so that only bad ones fail."""
        encoding, predictor = self.served.loaded.encoding, self.served.loaded.predictor
        try:
            rows = [encoding.row(v.values) for v in vectors]
            return list(predictor.predict(rows[0] if len(rows) == 1 else np.concatenate(rows)).tolist())
        except Exception as e:  # a model may raise anything; what it was asked together is asked one by one
            if len(vectors) == 1:
                return [e if isinstance(e, FivefoldError) else Invalid(f"the model failed on this row: {e}.")]
            return [self._predict([v])[0] for v in vectors]


def _request_rules(served: Served, lookup: Lookup) -> Rules:
    """Checks of the target's source that a request can be held to: those over fields that it carries."""
    source = rows_of(served.model.target.source)
    schema = served.schemas[source.name]
    # what a field is called with may be wider than the column: a whole number for a float
    return Rules(source.checks, {c: lookup.fields.get(c, kind) for c, kind in schema.items()}, set(lookup.fields))
