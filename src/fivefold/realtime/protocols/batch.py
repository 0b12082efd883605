"""What every wire format is turned into, and what every answer is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.types import Schema, Type
from fivefold.features.lookup import Vector
from fivefold.realtime.telemetry.stages import Stages

Value = Any
"""A cell: int, float, bool, str or None; a timestamp is microseconds since 1970 UTC."""


DECISION = "decision"
"""The task of an endpoint whose last step decides: true or false, a text, or a whole number."""


class Signature(msgspec.Struct, frozen=True, eq=False):
    """What an endpoint takes and gives under the version that answers now.

    `classes` are those of a multiclass model, whose prediction is a probability for each; else it is one value of the
    type `gives`, a number unless steps make something else of it.
    """

    endpoint: str
    model: str
    version: int
    key: str
    fields: Schema
    task: str
    platform: str
    classes: tuple[str, ...] | None = None
    gives: Type = Type.FLOAT64

    def said(self, found: Any) -> Any:
        """A prediction as people read it: a number, or a probability by class."""
        return found if self.classes is None else dict(zip(self.classes, found, strict=True))

    def require_version(self, text: str) -> None:
        """Raise NotFound for a version that is not the one that answers; an empty text stands for any."""
        if text and text != str(self.version):
            raise NotFound(
                f"the endpoint {self.endpoint!r} does not serve the version {text[:40]!r} (serves: {self.version}).",
                hint="Leave the version out to get the champion, whichever it is.",
            )


class Batch(msgspec.Struct):
    """Rows in columns: exactly the fields of a signature, each value of its field's type or None.

    A row in `refused` could not be read; its cells are None. `deadline` and `started` are `time.perf_counter_ns`, `at`
    is the moment to answer for (microseconds UTC; now, when None). `outputs` are those wanted (all, when empty).
    """

    fields: Schema
    columns: Mapping[str, Sequence[Value]]
    size: int
    refused: dict[int, FivefoldError] = msgspec.field(default_factory=dict)
    id: str = ""
    version: str = ""
    outputs: tuple[str, ...] = ()
    at: int | None = None
    deadline: int | None = None
    priority: int = 0
    started: int = msgspec.field(default_factory=time.perf_counter_ns)
    stages: Stages | None = None
    """Where it is noted how far it is, when it is traced."""

    def rows(self) -> list[dict[str, Value]]:
        """The rows, each a mapping of field to value."""
        if not self.columns:
            return [{} for _ in range(self.size)]
        if self.size == 1:
            return [{n: cells[0] for n, cells in self.columns.items()}]
        names = list(self.columns)
        return [dict(zip(names, cells, strict=True)) for cells in zip(*self.columns.values(), strict=True)]

    def piece(self, start: int, stop: int) -> Batch:
        """Rows `start` to `stop` (not with it) as a batch of their own."""
        stop = min(stop, self.size)
        return msgspec.structs.replace(
            self,
            columns={n: c[start:stop] for n, c in self.columns.items()},
            size=stop - start,
            refused={i - start: e for i, e in self.refused.items() if start <= i < stop},
        )


class Outcome(msgspec.Struct):
    """Answers to the rows of a batch, in their order.

    `predictions` holds what the signature gives, or a list of a float64 a class; None where `errors` says why there is
    none.
    `features` are those of `names`, as they were used; `ids` name the predictions in the log.
    """

    signature: Signature
    as_of: int
    names: Sequence[str]
    predictions: list[Any]
    errors: dict[int, FivefoldError]
    features: list[Vector | None]
    warnings: list[list[str]]
    ids: list[str]

    def add(self, prediction: Any, vector: Vector | None, warnings: list[str], id: str) -> None:
        """Add the answer to the next row."""
        self.predictions.append(prediction)
        self.features.append(vector)
        self.warnings.append(warnings)
        self.ids.append(id)

    def require_whole(self) -> None:
        """Raise Invalid for the first row that failed, with its number: for formats that have no place for it."""
        if self.errors:
            i = min(self.errors)
            error = self.errors[i]
            raise Invalid(f"row {i}: {error.message}", hint=error.hint)
