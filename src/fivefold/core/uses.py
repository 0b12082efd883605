"""How a version is used: endpoints and batch jobs."""

from __future__ import annotations

from typing import ClassVar

from fivefold.core.learning import Model
from fivefold.core.noun import Noun, define
from fivefold.core.sources import Table, View
from fivefold.core.time import duration, spell


class Endpoint(Noun, frozen=True, eq=False):
    """Answers requests with a model's champion: `POST /predict/NAME`.

    With `slo="20ms"` a request that would be answered later than that is refused at once; without one, a request that
    would be answered after a second. With `cache="5s"` a prediction is given again for so long, where everything that
    it was made from is the same.
    """

    kind: ClassVar[str] = "endpoint"
    later: ClassVar[tuple[str, ...]] = ("slo", "cache")
    model: Model
    slo: str | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("slo", "cache"):
            text = getattr(self, name)
            if text is not None:
                # one spelling of a time, so that "1000ms" and "1s" are the same declaration
                define(self, **{name: spell(duration(text, f"Endpoint {self.name!r}, {name}"))})


class BatchJob(Noun, frozen=True, eq=False):
    """Scores every row of a source with a model's champion and publishes the predictions as a table, all or nothing."""

    kind: ClassVar[str] = "batch_job"
    model: Model
    over: Table | View
    into: Table
