"""Learners, one file each: `fit(data, learner)` makes a `Fitted`. A new one is a file and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

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
) -> Fitted:
    """Fit a learner to rows `x` `(n, features)` and labels `y` `(n,)`; the same inputs give the same model.

    Raises Unsupported with the install command for a missing library, Invalid for parameters or data it refuses.
    """
    data = Data(x, y, task.name, tuple(names), tuple(categorical), groups, seed, threads)
    if learner.kind not in LEARNERS:
        raise Invalid(f"no learner {learner.kind!r} (have: {', '.join(LEARNERS)}).")
    made: Fitted = importlib.import_module(f"fivefold.models.learners.{learner.kind}").fit(data, learner)
    if made.format == "pickle" and not trust_pickle:
        raise Invalid(
            f"a {type(made.model).__name__} can only be stored as a pickle, which runs code when it is loaded.",
            hint="Use a learner with a data format, or declare Model(trust_pickle=True) if you trust it.",
        )
    return made
