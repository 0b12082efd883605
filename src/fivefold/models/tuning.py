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
    Raises Invalid for a range that is none, and for rows that cannot be judged on.
    """
    if how is None:
        return learner, []
    try:
        import optuna
    except ImportError:
        raise missing_extra("optuna", "tune", "Model(tune=...)") from None
    if how.trials < 1 or not 0 < how.holdout < 1 or not how.space:
        raise Invalid(
            f"{how} searches nothing.", hint="Give a space, trials of 1 or more, and a holdout between 0 and 1."
        )
    suggest = {name: _range(name, given) for name, given in how.space.items()}
    metric = how.metric or DEFAULT_METRICS[task.name][0]
    cut = np.quantile(order, 1 - how.holdout)
    early, late = order < cut, order >= cut
    if not early.any() or not late.any():
        raise Invalid(f"Tune(holdout={how.holdout}) leaves no rows to learn from or to judge on.")
    classes = int(y.max()) + 1 if task.name == "multiclass" else None
    if classes is not None and len(missing := np.setdiff1d(y, y[early])):
        raise Invalid(
            f"Tune(holdout={how.holdout}): the older rows have none of class {int(missing[0])}, to be judged on later.",
            hint="Give a smaller holdout=, or merge rare classes.",
        )
    held = None if groups is None else groups[late]
    trials: list[dict[str, Any]] = []

    def objective(trial: Any) -> float:
        params = {**learner.params, **{n: one(trial) for n, one in suggest.items()}}
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
            classes=classes,
        )
        value = prepare(task, metric, y[late], made.predict(x[late]), held)(np.ones(int(late.sum())))
        if np.isnan(value):
            raise Invalid(f"Tune: {metric} is undefined on the {int(late.sum())} newest rows.", hint="Widen holdout=.")
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


def _range(name: str, given: Any) -> Callable[[Any], Any]:
    """What asks a trial for a value of a range. Raises Invalid for what is none."""
    if isinstance(given, list) and given:
        return lambda trial: trial.suggest_categorical(name, given)
    if isinstance(given, tuple) and (len(given) == 2 or (len(given) == 3 and given[2] == "log")):
        low, high, log = given[0], given[1], len(given) == 3
        plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high))
        if plain and low < high and (low > 0 or not log):
            if isinstance(low, int) and isinstance(high, int):
                return lambda trial: trial.suggest_int(name, low, high, log=log)
            return lambda trial: trial.suggest_float(name, low, high, log=log)
    raise Invalid(
        f"Tune: {name}={given!r} is no range.",
        hint="Write (low, high), (low, high, 'log') with low above 0, or [a, b, c].",
    )
