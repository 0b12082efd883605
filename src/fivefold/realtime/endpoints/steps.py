"""Rows through the steps of an endpoint, one step after the other; who answers for a model is asked from outside.

An endpoint asks its members, `why --replay` computes what they said again: so both go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.features import Derived, Udf
from fivefold.core.learning import Model
from fivefold.core.steps import Member, wire
from fivefold.core.types import Type
from fivefold.core.uses import Step
from fivefold.features.lookup import udf_of_row
from fivefold.realtime.protocols.batch import Signature

Values = dict[str, Any]
"""What is known of a row: its fields, and what steps made, by name."""

Ask = Callable[[str, Sequence[int], list[Values]], Sequence[Any]]
"""Predictions or errors of a model for rows, whose places among those that are run are given too."""

_Do = Callable[[Sequence[int], Sequence[Values], Ask], Sequence[Any]]


class Steps:
    """The steps of the endpoint `ref`, over versions that take and give what `signatures` say, by model.

    Raises what `wire` raises.
    """

    def __init__(self, ref: str, steps: Sequence[Step], signatures: Mapping[str, Signature]) -> None:
        members = {n: Member(s.fields, s.classes is not None, s.classes) for n, s in signatures.items()}
        wired = wire(ref, steps, members)
        self.fields, self.types = wired.fields, wired.types
        self._steps: list[tuple[str, _Do]] = []
        for step in steps:
            if isinstance(step, Model):
                self._steps.append((step.name, _asking(step.name, signatures[step.name])))
            elif isinstance(step, Derived):
                expression = wired.expressions[step.name]
                self._steps.append((step.name, _by_row(step.name, expression.columns, expression.function())))
            elif isinstance(step, Udf):
                takes = wired.takes[step.name]
                call = udf_of_row(step, list(takes.values()))
                self._steps.append((step.name, _by_row(step.name, tuple(takes), _of_list(call))))
        self.last = self._steps[-1][0]
        self.gives = wired.types[self.last]
        last = signatures.get(self.last)
        self.classes = None if last is None else last.classes

    def run(self, rows: Sequence[Mapping[str, Any]], ask: Ask) -> list[Values | FivefoldError]:
        """What is known of each row after the last step, or why it failed; a row that failed is asked no more.

        Raises what `ask` raises.
        """
        known: list[Values] = [dict(row) for row in rows]
        errors: dict[int, FivefoldError] = {}
        for name, do in self._steps:
            places = [i for i in range(len(rows)) if i not in errors]
            if not places:
                break
            for i, made in zip(places, do(places, [known[i] for i in places], ask), strict=True):
                if isinstance(made, FivefoldError):
                    errors[i] = Invalid(f"the step {name!r}: {made.message}", hint=made.hint)
                else:
                    known[i].update(made)
        for i, values in enumerate(known):
            if i not in errors and values[self.last] is None:
                errors[i] = Invalid(
                    f"the answer, the step {self.last!r}, is null for this row.",
                    hint="Say what it is then: coalesce(…).",
                )
        return [errors.get(i, values) for i, values in enumerate(known)]

    def answer(self, known: Values) -> Any:
        """What is answered to a row that was run: a value, or the probabilities of a multiclass model that is last."""
        if self.classes is None:
            return known[self.last]
        return [known[f"{self.last}.{c}"] for c in self.classes]


def _asking(name: str, signature: Signature) -> _Do:
    fields = [(n, kind is Type.FLOAT64) for n, kind in signature.fields.items()]
    classes = signature.classes

    def made(prediction: Any) -> Any:
        if isinstance(prediction, FivefoldError):
            return prediction
        if classes is None:
            return {name: _plain(prediction)}
        likeliest = classes[prediction.index(max(prediction))]
        return {name: likeliest} | {f"{name}.{c}": _plain(p) for c, p in zip(classes, prediction, strict=True)}

    def do(places: Sequence[int], known: Sequence[Values], ask: Ask) -> Sequence[Any]:
        rows = [
            {n: float(v) if wide and type(v := values[n]) is int else values[n] for n, wide in fields}
            for values in known
        ]
        return [made(p) for p in ask(name, places, rows)]

    return do


def _by_row(name: str, takes: Sequence[str], call: Callable[..., Any]) -> _Do:
    def do(places: Sequence[int], known: Sequence[Values], ask: Ask) -> Sequence[Any]:
        out: list[Any] = []
        for values in known:
            try:
                out.append({name: _plain(call(*[values[n] for n in takes]))})
            except FivefoldError as e:
                out.append(e)
        return out

    return do


def _of_list(call: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    return lambda *values: call(values)


def _plain(value: Any) -> Any:
    """A value as a request could carry it: NaN is null, -0.0 is 0.0."""
    if type(value) is float:
        return None if value != value else value + 0.0
    return value
