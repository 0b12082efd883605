"""What sites count of their test rows tells how good a model is, by segment and against the champion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from declared_sites import declared

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.federated.course.measuring import NEW, rows_of_counts, shape
from fivefold.models.metrics import score
from fivefold.models.tasks import Task

SECURE = ff.SecureSum(min_survivors=3)
METRICS = ["auc", "logloss", "brier", "accuracy"]


def truth(made: Any, prefix: str = NEW) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of all test rows, which no sum is made of."""
    p = [rows.predictions(made.progress.files, prefix) for rows in made.rows]
    return np.concatenate([rows.y_test for rows in made.rows]), np.concatenate(p)


def test_metrics_from_counts_are_those_of_the_rows(sites: Any) -> None:
    made = sites(declared(privacy=SECURE))
    progress = made.run()
    y, p = truth(made)
    counted = rows_of_counts(made.course, progress)
    assert len(counted.y) == len(y)
    told, true = (score(Task("binary"), *given, METRICS) for given in ((counted.y, counted.p), (y, p)))
    for name in METRICS:
        assert told[name].value == pytest.approx(true[name].value, abs=2e-3)


def test_the_package_that_sites_measured_is_the_model_that_was_trained(sites: Any) -> None:
    made = sites(declared(privacy=SECURE))
    progress = made.run()
    fitted = made.course.fitted(progress)
    assert fitted is not None
    for rows in made.rows:
        x = made.course.encoding.matrix(rows.test)
        assert rows.predictions(progress.files, NEW).tobytes() == fitted.predict(x).tobytes()


def test_a_champion_is_compared_row_by_row(sites: Any) -> None:
    before = sites(declared(privacy=SECURE, rounds=1, strategy=ff.FedAvg(lr=0.05)))
    files = {path.removeprefix(NEW): data for path, data in before.run().files.items()}
    made = sites(declared(privacy=SECURE), champion=lambda: files)
    progress = made.run()
    counted = rows_of_counts(made.course, progress)
    assert shape(made.course, progress)[2:] == (64, 64)
    assert counted.champion is not None
    (y, new), (_, old) = truth(made), truth(made, "champion/")
    # the pairs are those of the rows: each in the cells of both models
    pairs = sorted(zip(y, (new * 64).astype(int), (old * 64).astype(int), strict=True))
    assert pairs == sorted(zip(counted.y, (counted.p * 64).astype(int), (counted.champion * 64).astype(int), strict=True))


def test_a_gate_within_a_segment_is_decided_on_its_values(sites: Any) -> None:
    gates = [ff.Gate("auc", at_least=0.5, segment="side", min_rows=10)]
    federation = declared(privacy=SECURE, gates=gates, levels={"side": ["high", "low", "never"]})
    made = sites(federation, segment="side")
    progress = made.run()
    counted = rows_of_counts(made.course, progress, "side")
    there = np.concatenate([rows.segments["side"] for rows in made.rows])
    assert counted.segment is not None
    assert {v: int((counted.segment == v).sum()) for v in ("high", "low")} == {v: int((there == v).sum()) for v in ("high", "low")}
    assert "never" not in set(counted.segment.tolist())
    with pytest.raises(Invalid, match="whose values are not public"):
        sites(declared(privacy=SECURE, gates=gates))


def test_cells_that_hold_no_more_than_noise_count_as_empty(sites: Any) -> None:
    made = sites(declared(privacy=[SECURE, ff.DP(30, 1e-5)]))
    progress = made.run()
    assert progress.counts is not None
    assert shape(made.course, progress)[2:] == (64, 1)
    assert (progress.counts >= 0).all()
    assert len(rows_of_counts(made.course, progress).y) < 3 * 160
