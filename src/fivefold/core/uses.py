"""How a version is used: endpoints and batch jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.features import Derived, Request, Udf
from fivefold.core.learning import Model
from fivefold.core.noun import Noun, define
from fivefold.core.sources import Stream, Table, View
from fivefold.core.time import duration, spell
from fivefold.core.types import Type

ANSWERED = {
    "prediction": Type.FLOAT64,
    "label": Type.STRING,
    "probabilities": Type.STRING,
    "prediction_id": Type.STRING,
    "predicted_at": Type.TIMESTAMP,
    "model": Type.STRING,
    "version": Type.INT64,
}
"""What an answer adds to the event it is of."""


class Canary(msgspec.Struct, frozen=True):
    """A version that is made `canary` answers a share of the requests, until it is clear whether it is to be champion.

    Requests are told apart by the value of the field `by`, so that each of its values meets one version; else at
    random. `alpha` is the chance of a wrong decision. The canary goes back when it fails, or is too late, by more than
    `tolerance` more often than the champion, or its mean loss is higher; it becomes champion when its mean loss is not
    above the champion's by the share `margin` of it. Losses come from labels that are sent to
    `POST /feedback`; with `labels=False` it becomes champion after `answers` sound answers.
    """

    share: str = "10%"
    by: str = ""
    alpha: float = 0.01
    tolerance: float = 0.005
    margin: float = 0.0
    answers: int = 2000
    labels: bool = True

    def __post_init__(self) -> None:
        _share(self.share, "Canary, share")
        for name, low, high in (("alpha", 0.0, 0.5), ("tolerance", 0.0, 1.0), ("margin", 0.0, 10.0)):
            value = getattr(self, name)
            if not low < value <= high and not (name != "alpha" and value == 0):
                raise Invalid(f"Canary, {name}={value} (accepted: above {low:g}, at most {high:g}).")
        if self.answers < 1:
            raise Invalid(f"Canary, answers={self.answers} (accepted: 1 and more).")

    @property
    def part(self) -> float:
        """The share as a number from 0 to 1."""
        return _share(self.share, "Canary, share")


class Shadow(msgspec.Struct, frozen=True):
    """A version that is made `shadow` answers a share of the requests as well, for nobody: its answers are compared."""

    share: str = "100%"

    def __post_init__(self) -> None:
        _share(self.share, "Shadow, share")

    @property
    def part(self) -> float:
        """The share as a number from 0 to 1."""
        return _share(self.share, "Shadow, share")


Step = Model | Request | Derived | Udf
"""What an endpoint with steps does one after the other; a `Request` only says that a request carries a field."""


class Endpoint(Noun, frozen=True, eq=False):
    """Answers requests with a model's champion: `POST /predict/NAME`.

    With `slo="20ms"` a request that would be answered later than that is refused at once; without one, a request that
    would be answered after a second. With `cache="5s"` a prediction is given again for so long, where everything that
    it was made from is the same. `rollout` says how a new version is tried: `ff.Canary("10%")`, `ff.Shadow()`.

    With `feature_cache="500ms"` what was read of an entity from the online store is used again for so long: for stores
    that are far away. Features may then be that much behind.

    With `fallback={"spending.last_amount": 0.0}` requests are answered while the online store does not answer: with
    the values given here, and null for looked-up features that are not named. Such answers carry a warning.

    With `steps` the answer is what the last of several steps makes: models (each its champion), `ff.Derived` and
    `ff.Udf`, each under its own name, in an order in which each stands after what it takes by name. What no step makes
    comes with the request. `model` is one of them: its version names the answers.

        ff.Endpoint("late", deep, steps=[quick, deep, ff.Derived("late", "0.3 * quick + 0.7 * deep > 0.5")])

    With `on` and `into` it also answers each event of a stream, whose columns are the fields it takes, with an event of
    another one: that one's columns are filled from the event by name, and from the answer (`prediction`,
    `prediction_id`, `predicted_at`, `model`, `version`; for a multiclass model the likeliest as `label`, its
    probability as `prediction`, and `probabilities` as JSON text).
    """

    kind: ClassVar[str] = "endpoint"
    later: ClassVar[tuple[str, ...]] = ("slo", "cache", "rollout", "on", "into", "steps", "feature_cache", "fallback")
    model: Model
    slo: str | None = None
    cache: str | None = None
    rollout: Canary | Shadow | None = None
    on: Stream | None = None
    into: Stream | None = None
    steps: Sequence[Step] = ()
    feature_cache: str | None = None
    fallback: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.steps, list | tuple):
            raise Invalid(f"{self.ref}: steps={self.steps!r} is no list.", hint="Write steps=[model, ff.Derived(...)].")
        define(self, steps=tuple(self.steps))
        _check_steps(self)
        for name in ("slo", "cache", "feature_cache"):
            text = getattr(self, name)
            if text is not None:
                # one spelling of a time, so that "1000ms" and "1s" are the same declaration
                define(self, **{name: spell(duration(text, f"Endpoint {self.name!r}, {name}"))})
        if self.fallback is not None and not isinstance(self.fallback, Mapping):
            raise Invalid(
                f"{self.ref}: fallback={self.fallback!r} is no mapping.",
                hint='Write fallback={"VIEW.FEATURE": value}, or fallback={} for nulls.',
            )
        if self.rollout is not None and not isinstance(self.rollout, Canary | Shadow):
            raise Invalid(f"{self.ref}: rollout={self.rollout!r} (accepted: ff.Canary(...), ff.Shadow(...)).")
        if (self.on is None) != (self.into is None):
            raise Invalid(f"{self.ref}: on= and into= belong together.", hint="Give both streams, or none.")
        if self.on is not None and self.into is not None:
            _check_streams(self.ref, self.on, self.into)

    @property
    def models(self) -> tuple[Model, ...]:
        """The models that answer, in order of the steps."""
        return tuple(s for s in self.steps if isinstance(s, Model)) or (self.model,)


def _check_steps(endpoint: Endpoint) -> None:
    """Raise Invalid for steps that are none, are called alike, do not have the model among them, or make nothing."""
    steps, where = endpoint.steps, f"{endpoint.ref}, steps"
    for place, step in enumerate(steps):
        if not isinstance(step, Step):
            raise Invalid(f"{where}[{place}] is {step!r} (accepted: a Model, ff.Request, ff.Derived, ff.Udf).")
    names = [s.name for s in steps]
    for twice in sorted({n for n in names if names.count(n) > 1}):
        raise Invalid(f"{where}: two of them are called {twice!r}.", hint="Rename one, or leave it out.")
    if steps and endpoint.model not in endpoint.models:
        have = ", ".join(m.name for m in endpoint.models)
        raise Invalid(
            f"{where}: the model {endpoint.model.name!r} is none of them (models: {have}).",
            hint="Put it among them, or name one of them as model=.",
        )
    if steps and isinstance(steps[-1], Request):
        raise Invalid(
            f"{where}: the last one, {steps[-1].ref}, makes nothing.", hint="The answer is what the last makes."
        )


def _check_streams(ref: str, on: Stream, into: Stream) -> None:
    if on.name == into.name:
        raise Invalid(f"{ref}: it would answer its own answers: on= and into= are both {on.ref}.")
    for column, kind in into.schema.items():
        made = ANSWERED.get(column) or on.schema.get(column)
        if made is None:
            raise NotFound.named(f"column of {on.ref}, or of answers, for {into.ref}", column, [*on.schema, *ANSWERED])
        if made is not kind and not (made is Type.INT64 and kind is Type.FLOAT64):
            raise Invalid(f"{into.ref}: the column {column!r} is {kind}, and would be filled with {made}.")


def _share(text: str, where: str) -> float:
    try:
        value = float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise Invalid(f'{where}: {text!r} is no share (accepted: above "0%", at most "100%").')
    return value


class BatchJob(Noun, frozen=True, eq=False):
    """Scores every row of a source with a model's champion and publishes the predictions as a table, all or nothing."""

    kind: ClassVar[str] = "batch_job"
    model: Model
    over: Table | View
    into: Table
