"""A fitted model, before it is packaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from fivefold.models.bootstrap import members

Predict = Callable[[np.ndarray], np.ndarray]
"""From a float64 matrix `(n, features)` to float64 predictions `(n,)`, or `(n, k)` probabilities."""


class Fitted(msgspec.Struct, frozen=True):
    """What a learner made: `format` says how it is stored, `predict` is the training library's own answer.

    `to_onnx` makes an ONNX model (its bytes) for the formats that convert, or is None. `nulls` are the columns that
    were null in some training row.
    """

    format: str
    model: Any
    predict: Predict
    params: Mapping[str, Any]
    to_onnx: Callable[[], bytes] | None = None
    nulls: tuple[int, ...] = ()


class Data(msgspec.Struct, frozen=True):
    """Training rows: `x` `(n, features)` float64 with NaN for null, `y` `(n,)`, the task and what the columns are.

    `classes` is the number of classes of a multiclass task.
    """

    x: np.ndarray
    y: np.ndarray
    task: str
    names: tuple[str, ...]
    categorical: tuple[int, ...]
    groups: np.ndarray | None
    seed: int
    threads: int
    classes: int | None = None

    def by_group(self) -> tuple[np.ndarray, np.ndarray]:
        """For ranking: an order of rows in which each group stands together, and the groups' sizes in that order."""
        assert self.groups is not None
        member, _ = members(self.groups)
        order = np.argsort(member, kind="stable")
        return order, np.bincount(member)
