"""What training together is worth: the same test flights, answered by models that were made in three ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fivefold.core.federation import Federation
from fivefold.core.learning import learner
from fivefold.federated.course.definition import course_of, declared
from fivefold.federated.course.rows import SiteRows, rows_by_site
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.models.learners import fit
from fivefold.models.metrics import score
from fivefold.models.tasks import Task
from fivefold.workspace import Workspace, open_workspace
from fivefold.workspace.served import champion


def compared(folder: Path, hub: Workspace) -> tuple[dict[str, float], int, int]:
    """AUC on all test flights of the model that was made together, of one of all flights, and of each airline's own."""
    with open_workspace(folder, actor="demo") as workspace:
        apply(workspace, plans.check(workspace), plans.plan(workspace))
        federation: Federation = declared(workspace, "carriers")
        schemas = plans.check(workspace).schemas
        sites = rows_by_site(workspace, federation, course_of(federation, schemas, 1), schemas)
    parts = [site for site in sites.values() if len(site.y_test)]
    loaded = champion(hub, "late").loaded
    y = np.concatenate([site.y_test for site in parts])
    x = {id(site): loaded.encoding.matrix(site.test) for site in parts}
    central = _fitted(loaded.encoding.names, [site.x for site in parts], [site.y for site in parts])
    told = {
        "together": np.concatenate([loaded.predictor.predict(x[id(site)]) for site in parts]),
        "all flights in one place": np.concatenate([central(x[id(site)]) for site in parts]),
        "each airline alone": np.concatenate([_alone(loaded.encoding.names, site)(x[id(site)]) for site in parts]),
    }
    auc = {name: score(Task("binary"), y, p, ["auc"])["auc"].value for name, p in told.items()}
    return auc, len(y), sum(len(site.y) for site in parts)


def _fitted(names: Sequence[str], x: list[np.ndarray], y: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    made = fit(learner("logistic"), np.concatenate(x), np.concatenate(y), task=Task("binary"), names=list(names))
    return made.predict


def _alone(names: Sequence[str], site: SiteRows) -> Callable[[np.ndarray], np.ndarray]:
    """An airline's own model; one whose flights were all alike answers with their share of late ones."""
    if len(np.unique(site.y)) < 2:
        share = float(site.y.mean())
        return lambda x: np.full(len(x), share)
    return _fitted(names, [site.x], [site.y])
