"""Searching parameters by optuna, judged on the newest part of the training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import METRICS, Learner, Tune
from fivefold.models.learners import fit
from fivefold.models.metrics import DEFAULT_METRICS, prepare
from fivefold.models.tasks import Task


def tune(
    how: Tune | None,
    learner: Learner,
    x: np.ndarray,
    y: np.ndarray,
    *,
    order: np.ndarray,
    task: Task,
    names: Sequence[str],
    categorical: Sequence[int],
    groups: np.ndarray | None,
    threads: int,
    trust_pickle: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Learner, list[dict[str, Any]]]:
    """The learner with the best parameters found, and every trial (parameters and value), in order.

    `order` `(rows,)` says which rows are newest. The same seed gives the same trials (TPE, Bergstra et al. 2011).
    Raises Invalid for a range that is none.
    """
    if how is None:
        return learner, []
    try:
        import optuna
    except ImportError:
        raise missing_extra("optuna", "tune", "Model(tune=...)") from None
    metric = how.metric or DEFAULT_METRICS[task.name][0]
    cut = np.quantile(order, 1 - how.holdout)
    early, late = order < cut, order >= cut
    if not early.any() or not late.any():
        raise Invalid(f"Tune(holdout={how.holdout}) leaves no rows to learn from or to judge on.")
    held = None if groups is None else groups[late]
    trials: list[dict[str, Any]] = []

    def objective(trial: Any) -> float:
        params = {**learner.params, **{n: _suggest(trial, n, given) for n, given in how.space.items()}}
        made = fit(
            msgspec.structs.replace(learner, params=params),
            x[early],
            y[early],
            task=task,
            names=names,
            categorical=categorical,
            groups=None if groups is None else groups[early],
            seed=how.seed,
            threads=threads,
            trust_pickle=trust_pickle,
        )
        value = prepare(task, metric, y[late], made.predict(x[late]), held)(np.ones(int(late.sum())))
        trials.append({"params": {k: params[k] for k in how.space}, metric: value})
        if progress:
            progress("tune", len(trials), how.trials)
        return value

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if METRICS[metric] > 0 else "minimize", sampler=optuna.samplers.TPESampler(seed=how.seed)
    )
    study.optimize(objective, n_trials=how.trials)
    best: Mapping[str, Any] = study.best_params
    return msgspec.structs.replace(learner, params={**learner.params, **best}), trials


def _suggest(trial: Any, name: str, given: Any) -> Any:
    if isinstance(given, list):
        return trial.suggest_categorical(name, given)
    if isinstance(given, tuple) and len(given) in (2, 3) and given[0] < given[1]:
        log = len(given) == 3 and given[2] == "log"
        if len(given) == 2 or log:
            whole = isinstance(given[0], int) and isinstance(given[1], int)
            suggest = trial.suggest_int if whole else trial.suggest_float
            return suggest(name, given[0], given[1], log=log)
    raise Invalid(f"Tune: {name}={given!r} is no range.", hint="Write (low, high), (low, high, 'log') or [a, b, c].")
