"""A version is judged: its gates are decided on the very rows on which the champion is judged too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.catalog.versions import Version
from fivefold.core.errors import Invalid
from fivefold.core.learning import Model
from fivefold.models.gates import Decision, judge
from fivefold.models.tasks import Task
from fivefold.ports.blobs import get_blob
from fivefold.workspace import Workspace

FEWEST_SHARED = 0.5
"""The share of a version's test rows that the champion must have been judged on too, for a comparison to count."""


class Verdict(msgspec.Struct, frozen=True):
    """All decisions on a version; it passes when every gate does."""

    passed: bool
    decisions: tuple[Decision, ...]

    @property
    def reason(self) -> str:
        """What to tell people: the gates that failed, else all of them."""
        shown = [d.reason for d in self.decisions if d.passed is self.passed]
        return "; ".join(shown) or "the model declares no gates"

    def tags(self) -> dict[str, str]:
        """The verdict as tags of a run."""
        return {
            "gates": "passed" if self.passed else "failed",
            **{f"gate.{i}": f"{'passed' if d.passed else 'failed'}: {d.reason}" for i, d in enumerate(self.decisions)},
        }


class Judged(msgspec.Struct, frozen=True):
    """The test rows of a version: what identifies each, labels, predictions, groups and segments."""

    rows: Sequence[str]
    y: np.ndarray
    p: np.ndarray
    groups: np.ndarray | None
    segments: Mapping[str, np.ndarray]

    def take(self, index: np.ndarray) -> Judged:
        """Some of the rows."""
        return Judged(
            [self.rows[i] for i in index],
            self.y[index],
            self.p[index],
            None if self.groups is None else self.groups[index],
            {k: v[index] for k, v in self.segments.items()},
        )


def judge_version(workspace: Workspace, version: Version, champion: int | None) -> Verdict:
    """Decide a model's gates for a version against the champion of this environment, on shared test rows.

    Raises Invalid when the champion was judged on too few of the same rows to compare with.
    """
    model = workspace.project.get(Model.kind, version.model)
    assert isinstance(model, Model)
    mine = read_judged(workspace, version)
    theirs: np.ndarray | None = None
    if champion is not None and any(g.beats for g in model.gates):
        other = read_judged(workspace, workspace.catalog.versions.get(version.model, champion))
        where = {row: i for i, row in enumerate(other.rows)}
        shared = np.array([i for i, row in enumerate(mine.rows) if row in where], dtype=np.int64)
        if len(shared) < FEWEST_SHARED * len(mine.rows):
            raise Invalid(
                f"{version.model}@{version.number} and the champion, version {champion}, share only {len(shared)} "
                f"of {len(mine.rows)} test rows, too few to compare.",
                hint="Train both on a split with the same test rows.",
            )
        theirs = other.p[[where[mine.rows[i]] for i in shared]]
        mine = mine.take(shared)
    task = Task(str(_info(version)["task"]))
    decisions = judge(
        model.gates,
        task=task,
        y=mine.y,
        p=mine.p,
        champion=theirs,
        groups=mine.groups,
        segments=mine.segments,
        seed=model.seed,
        against=champion,
    )
    return Verdict(all(d.passed for d in decisions), tuple(decisions))


def read_judged(workspace: Workspace, version: Version) -> Judged:
    """The stored test rows of a version."""
    blob = get_blob(
        workspace.artifacts, str(_info(version)["judged_on"]), f"test rows of {version.model}@{version.number}"
    )
    with blob:
        table = pq.read_table(pa.BufferReader(blob.read()))
    columns = {n: table[n].to_numpy(zero_copy_only=False) for n in table.column_names if n not in ("row", "p")}
    p = table["p"]
    matrix = np.stack([np.asarray(v) for v in p.to_pylist()]) if pa.types.is_list(p.type) else p.to_numpy()
    return Judged(
        table["row"].to_pylist(),
        columns["y"],
        matrix,
        columns.get("group"),
        {n.removeprefix("segment:"): v for n, v in columns.items() if n.startswith("segment:")},
    )


def judged_table(judged: Judged) -> pa.Table:
    """Test rows in the form they are stored in."""
    p = pa.array(judged.p) if judged.p.ndim == 1 else pa.array(list(judged.p), pa.list_(pa.float64()))
    columns: dict[str, Any] = {"row": pa.array(judged.rows, pa.string()), "y": pa.array(judged.y), "p": p}
    if judged.groups is not None:
        columns["group"] = pa.array(judged.groups)
    columns |= {f"segment:{k}": pa.array(v) for k, v in judged.segments.items()}
    return pa.table(columns)


def _info(version: Version) -> dict[str, Any]:
    assert isinstance(version.info, dict)
    return version.info
