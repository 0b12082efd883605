"""How a version is used: endpoints and batch jobs."""

from __future__ import annotations

from typing import ClassVar

from fivefold.core.learning import Model
from fivefold.core.noun import Noun
from fivefold.core.sources import Table, View


class Endpoint(Noun, frozen=True, eq=False):
    """Answers requests with a model's champion: `POST /predict/NAME`."""

    kind: ClassVar[str] = "endpoint"
    model: Model


class BatchJob(Noun, frozen=True, eq=False):
    """Scores every row of a source with a model's champion and publishes the predictions as a table, all or nothing."""

    kind: ClassVar[str] = "batch_job"
    model: Model
    over: Table | View
    into: Table
