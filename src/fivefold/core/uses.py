"""How a version is used: endpoints and batch jobs."""

from __future__ import annotations

from typing import ClassVar

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.learning import Model
from fivefold.core.noun import Noun
from fivefold.core.sources import Stream, Table, View
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


class Endpoint(Noun, frozen=True, eq=False):
    """Answers requests with a model's champion: `POST /predict/NAME`.

    With `on` and `into` it also answers each event of a stream, whose columns are the fields it takes, with an event of
    another one: that one's columns are filled from the event by name, and from the answer (`prediction`,
    `prediction_id`, `predicted_at`, `model`, `version`; for a multiclass model the likeliest as `label`, its
    probability as `prediction`, and `probabilities` as JSON text).
    """

    kind: ClassVar[str] = "endpoint"
    later: ClassVar[tuple[str, ...]] = ("on", "into")
    model: Model
    on: Stream | None = None
    into: Stream | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.on is None) != (self.into is None):
            raise Invalid(f"{self.ref}: on= and into= belong together.", hint="Give both streams, or none.")
        if self.on is not None and self.into is not None:
            if self.on.name == self.into.name:
                raise Invalid(f"{self.ref}: it would answer its own answers: on= and into= are both {self.on.ref}.")
            for column, kind in self.into.schema.items():
                made = ANSWERED.get(column) or self.on.schema.get(column)
                if made is None:
                    raise NotFound.named(
                        f"column of {self.on.ref}, or of answers, for {self.into.ref}",
                        column,
                        [*self.on.schema, *ANSWERED],
                    )
                if made is not kind and not (made is Type.INT64 and kind is Type.FLOAT64):
                    raise Invalid(f"{self.into.ref}: the column {column!r} is {kind}, and would be filled with {made}.")


class BatchJob(Noun, frozen=True, eq=False):
    """Scores every row of a source with a model's champion and publishes the predictions as a table, all or nothing."""

    kind: ClassVar[str] = "batch_job"
    model: Model
    over: Table | View
    into: Table
