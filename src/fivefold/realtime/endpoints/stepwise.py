"""An endpoint of several steps: each of its models answers as it does alone, and the last step makes the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fivefold.core.canonical import digest
from fivefold.core.errors import FivefoldError
from fivefold.core.types import Schema, Type
from fivefold.core.uses import Endpoint
from fivefold.features.fields import accepted
from fivefold.features.lookup import NULL, PRESENT, Vector
from fivefold.ports.online import OnlineStore
from fivefold.realtime.batching.cache import PredictionCache
from fivefold.realtime.endpoints.answering import Answering
from fivefold.realtime.endpoints.answers import Answered
from fivefold.realtime.endpoints.steps import Steps, Values
from fivefold.realtime.protocols.batch import DECISION, Batch, Signature
from fivefold.realtime.telemetry.stages import note
from fivefold.workspace.prediction_files import StepsUsed


class Stepwise:
    """Versions that answer together; `graph` is the digest under which the steps are kept.

    A feature of a member is called `MODEL.FEATURE`, and what a step makes by the name of the step. What members say is
    cached by each for itself. Raises Invalid for versions that do not take what the others give.
    """

    def __init__(self, endpoint: Endpoint, members: Mapping[str, Answering], graph: str) -> None:
        self.members = members
        self._steps = Steps(endpoint.ref, endpoint.steps, {n: m.signature for n, m in members.items()})
        main = members[endpoint.model.name]
        self.served = main.served
        self.versions: Mapping[str, int] = {n: m.served.version.number for n, m in members.items()}
        self.used: StepsUsed | None = StepsUsed(graph, dict(self.versions), self._steps.last)
        self._made = list(self._steps.types)
        self.names = [f"{name}.{feature}" for name, m in members.items() for feature in m.names] + self._made
        version, last = main.served.version, members.get(self._steps.last)
        self.signature = Signature(
            endpoint.name,
            version.model,
            version.number,
            digest("answers", {"graph": graph, "keys": {n: m.signature.key for n, m in members.items()}}),
            self._steps.fields,
            last.signature.task if last is not None else _task(self._steps.gives, main.signature.task),
            "fivefold_steps",
            self._steps.classes,
            Type.FLOAT64 if self._steps.classes else self._steps.gives,
        )

    @property
    def fields(self) -> Schema:
        """What a row holds."""
        return self._steps.fields

    @property
    def example(self) -> Mapping[str, Any]:
        """Request values of rows that the versions were tested on."""
        return {n: v for m in self.members.values() for n, v in m.example.items() if n in self.fields}

    @property
    def cache(self) -> PredictionCache | None:
        """Where members keep what they said."""
        return self.members[self.served.version.model].cache

    @cache.setter
    def cache(self, cache: PredictionCache | None) -> None:
        for member in self.members.values():
            member.cache = cache

    def materialised(self, store: OnlineStore) -> dict[str, int | None]:
        """By feature view, the moment (µs UTC) from which its values answer; None for one that holds none."""
        return {f"{n}.{view}": at for n, m in self.members.items() for view, at in m.materialised(store).items()}

    def missing(self, store: OnlineStore) -> list[str]:
        """Feature views of which the store holds no values."""
        return list(dict.fromkeys(view for m in self.members.values() for view in m.missing(store)))

    def answer(self, store: OnlineStore, batches: Sequence[Batch], at: int) -> list[Answered | FivefoldError]:
        """An answer or an error for each row of each batch, in order, from features as of `at` (microseconds UTC).

        Raises Unavailable when the store does not answer, Invalid when it does not answer for that moment any more.
        """
        traced = [b.stages for b in batches if b.stages is not None and not b.stages.called]
        if traced:
            note("called", traced)
        out: list[Answered | FivefoldError | None] = []
        places: list[int] = []
        rows: list[dict[str, Any]] = []
        for batch in batches:
            known = batch.fields is self.fields or batch.fields == self.fields
            for i, row in enumerate(batch.rows()):
                error = batch.refused.get(i)
                if error is None and not known:
                    try:
                        row = accepted(row, self.fields)
                    except FivefoldError as e:
                        error = e
                out.append(error)
                if error is None:
                    places.append(len(out) - 1)
                    rows.append(row)
        said: list[dict[str, Answered]] = [{} for _ in rows]

        def ask(name: str, asked: Sequence[int], values: list[Values]) -> Sequence[Any]:
            member = self.members[name]
            columns = {n: [v[n] for v in values] for n in member.fields}
            found = member.answer(store, [Batch(member.fields, columns, len(values))], at)
            for i, one in zip(asked, found, strict=True):
                if isinstance(one, Answered):
                    said[i][name] = one
            return [f.prediction if isinstance(f, Answered) else f for f in found]

        for i, row, by_model, made in zip(places, rows, said, self._steps.run(rows, ask), strict=True):
            out[i] = made if isinstance(made, FivefoldError) else self._answered(row, by_model, made)
        if traced:
            note("predicted", traced)
        return [o for o in out if o is not None]

    def _answered(self, row: dict[str, Any], by_model: Mapping[str, Answered], made: Values) -> Answered:
        vector = Vector([], [], [], {})
        warnings = []
        for name in self.members:
            one = by_model[name]
            vector.values.extend(one.vector.values)
            vector.times.extend(one.vector.times)
            vector.statuses.extend(one.vector.statuses)
            vector.seen.update({f"{name}.{view}": s for view, s in one.vector.seen.items()})
            warnings += [f"{name}: {w}" for w in one.warnings]
        for name in self._made:
            vector.values.append(made[name])
            vector.times.append(None)
            vector.statuses.append(PRESENT if made[name] is not None else NULL)
        return Answered(row, vector, self._steps.answer(made), warnings)


def _task(gives: Type, main: str) -> str:
    """What an answer that no model makes is: a number as the main model's is, or a decision."""
    if gives is not Type.FLOAT64:
        return DECISION
    return "regression" if main == "multiclass" else main
