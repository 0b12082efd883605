"""What answers rows, whether it is one version or several steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from fivefold.core.errors import FivefoldError
from fivefold.core.types import Schema
from fivefold.features.lookup import Vector
from fivefold.ports.online import OnlineStore
from fivefold.realtime.batching.cache import PredictionCache
from fivefold.realtime.protocols.batch import Batch, Signature
from fivefold.workspace.prediction_files import StepsUsed
from fivefold.workspace.served import Served


class Answered(NamedTuple):
    """A row as it was taken, the features it was answered from, the prediction, and what was odd about it.

    The prediction is a float64, or a list of one a class; of steps, what the last of them makes.
    """

    row: dict[str, Any]
    vector: Vector
    prediction: Any
    warnings: list[str]


class Answers(Protocol):
    """What an endpoint asks; whatever is wrong with a row fails that row alone."""

    served: Served
    """The version that answers are named by."""
    signature: Signature
    versions: Mapping[str, int]
    """By model, the version that is asked."""
    used: StepsUsed | None
    """What the log is told of steps; None where there are none."""
    cache: PredictionCache | None

    @property
    def fields(self) -> Schema:
        """What a row holds."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The features of an answer, in order."""
        ...

    @property
    def example(self) -> Mapping[str, Any]:
        """Request values of a row that was tested."""
        ...

    def answer(self, store: OnlineStore, batches: Sequence[Batch], at: int) -> list[Answered | FivefoldError]:
        """An answer or an error for each row of each batch, in order, from features as of `at` (microseconds UTC).

        Raises Unavailable when the store does not answer, Invalid when it does not answer for that moment any more.
        """
        ...

    def materialised(self, store: OnlineStore) -> dict[str, int | None]:
        """By feature view, the moment (µs UTC) from which its values answer; None for one that holds none."""
        ...

    def missing(self, store: OnlineStore) -> list[str]:
        """Feature views of which the store holds no values."""
        ...
