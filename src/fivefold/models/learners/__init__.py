"""Learners, one file each: `fit(data, learner)` makes a `Fitted`. A new one is a file and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.learning import LEARNERS, Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.tasks import Task


def fit(
    learner: Learner,
    x: np.ndarray,
    y: np.ndarray,
    *,
    task: Task,
    names: Sequence[str],
    categorical: Sequence[int] = (),
    groups: np.ndarray | None = None,
    seed: int = 0,
    threads: int = 1,
    trust_pickle: bool = False,
    classes: int | None = None,
) -> Fitted:
    """Fit a learner to rows `x` `(n, features)` and labels `y` `(n,)`; the same inputs give the same model.

    `classes` is the number of a multiclass task's classes, by default as many as `y` has. Raises Unsupported with the
    install command for a missing library, Invalid for parameters or data that are refused.
    """
    if task.name == "multiclass" and classes is None:
        classes = int(y.max()) + 1
    data = Data(x, y, task.name, tuple(names), tuple(categorical), groups, seed, threads, classes)
    _require_finite(data)
    if learner.kind not in LEARNERS:
        raise Invalid(f"no learner {learner.kind!r} (have: {', '.join(LEARNERS)}).")
    made: Fitted = importlib.import_module(f"fivefold.models.learners.{learner.kind}").fit(data, learner)
    if made.format == "pickle" and not trust_pickle:
        raise Invalid(
            f"a {type(made.model).__name__} can only be stored as a pickle, which runs code when it is loaded.",
            hint="Use a learner with a data format, or declare Model(trust_pickle=True) if you trust it.",
        )
    return msgspec.structs.replace(made, nulls=tuple(np.flatnonzero(np.isnan(x).any(axis=0)).tolist()))


def _require_finite(data: Data) -> None:
    bad = [f"{n} ({c} rows)" for n, c in zip(data.names, np.isinf(data.x).sum(axis=0), strict=True) if c]
    if bad:
        raise Invalid(f"there are infinite values in {', '.join(bad[:6])}.", hint="Derive null or a bound from them.")
    if not np.isfinite(data.y).all():
        raise Invalid(f"{int((~np.isfinite(data.y)).sum())} of {len(data.y)} labels are infinite or no number.")
