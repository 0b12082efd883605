"""One chunk of a job: a slice of the source's rows with features as of each row's moment, predictions, and rejects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from fivefold.batch.parts import write_part, write_parts
from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.features import Request
from fivefold.core.uses import BatchJob
from fivefold.data.duck import ident, parquet
from fivefold.features.frame import frame
from fivefold.workspace import Workspace
from fivefold.workspace.served import Served

REJECTED = "_rejected"
MOMENT = "__moment"


class Job(NamedTuple):
    """What every chunk of a job needs; `made` is the folder it writes to, `tag` is part of each file's name."""

    workspace: Workspace
    connection: duckdb.DuckDBPyConnection
    job: BatchJob
    served: Served
    made: Path
    tag: str


def score_chunk(work: Job, start: int, count: int) -> dict[str, Any]:
    """Score `count` rows from `start` on and write them; returns how many of each kind, and the files with digests.

    Raises NotFound for a partition column that the source does not have, Invalid for a column called as an output.
    """
    job, served = work.job, work.served
    assert job.over.time is not None
    keys = list(dict.fromkeys(k for view in served.views for k in view.entity.key))
    shown = list(dict.fromkeys([*([job.over.id] if job.over.id else []), *keys, job.over.time, *job.into.partition]))
    rows = _rows(work, shown, start, count)
    reasons = _lacking(rows, {MOMENT: job.over.time, **{k: k for k in keys}})
    table = frame(
        work.connection,
        served.model,
        rows.take(pa.array([i for i, r in enumerate(reasons) if r is None], pa.int64())),
        MOMENT,
        served.schemas,
        served.scales,
        lambda name: parquet(work.workspace.snapshot(name).files(work.workspace.places.tables)),
        threads=work.workspace.env.threads,
    )
    predictions, refused = _predict(served, table)
    good = [i for i, r in enumerate(reasons) if r is None]
    for at, reason in refused.items():
        reasons[good[at]] = reason
    kept = pa.array([at for at in range(len(good)) if at not in refused], pa.int64())
    out = table.select(shown).take(kept)
    for name, values in _columns(served, predictions[kept.to_numpy()]):
        if name in shown:
            raise Invalid(f"{job.ref}: the column {name!r} of {job.over.ref} is called as one that scoring adds.")
        out = out.append_column(name, values)
    name = f"part-{start:012}-{work.tag}.parquet"
    by = list(job.into.partition) if count else []
    files = write_parts(out, by, work.made, name)
    bad = pa.array([i for i, r in enumerate(reasons) if r is not None], pa.int64())
    if len(bad):
        aside = rows.drop_columns([MOMENT]).take(bad)
        aside = aside.append_column("reason", pa.array([r for r in reasons if r is not None], pa.string()))
        files[f"{REJECTED}/{name}"] = write_part(aside, work.made / REJECTED / name)
    return {"rows": rows.num_rows, "scored": out.num_rows, "rejected": len(bad), "files": files}


def _rows(work: Job, shown: list[str], start: int, count: int) -> pa.Table:
    """A slice of the source; its parts are read in order, so it is the same rows each time."""
    over = work.workspace.snapshot(work.job.over.name)
    for column in work.job.into.partition:
        if column not in over.schema:
            raise NotFound.named(
                f"column of {work.job.over.ref} for partition= of {work.job.into.ref}:", column, over.schema
            )
    requests = [r.name for r in work.served.model.features if isinstance(r, Request)]
    columns = ", ".join(ident(c) for c in dict.fromkeys([*shown, *requests]))
    return work.connection.sql(
        f"select {columns}, {ident(str(work.job.over.time))} as {MOMENT} "
        f"from {parquet(over.files(work.workspace.places.tables))} limit {count} offset {start}"
    ).to_arrow_table()


def _lacking(rows: pa.Table, needed: Mapping[str, str]) -> list[str | None]:
    """For each row what it lacks of columns that must not be null, by the names they are known by; None if nothing."""
    nulls = {said: rows[column].is_null().to_pylist() for column, said in needed.items()}
    return [
        ", ".join(f"{said} is null" for said, flags in nulls.items() if flags[i]) or None for i in range(rows.num_rows)
    ]


def _predict(served: Served, table: pa.Table) -> tuple[np.ndarray, dict[int, str]]:
    """Predictions `(n,)` or `(n, k)`, and the reason of each row that the model cannot take (its prediction is NaN)."""
    classes = served.loaded.about.classes
    if table.num_rows == 0:
        return np.empty((0, len(classes)) if classes else (0,)), {}
    try:
        return served.loaded.predict(table), {}
    except FivefoldError as e:
        if table.num_rows == 1:
            return np.full((1, len(classes)) if classes else (1,), np.nan), {0: str(e)}
    middle = table.num_rows // 2
    left, refused = _predict(served, table.slice(0, middle))
    right, more = _predict(served, table.slice(middle))
    return np.concatenate([left, right]), refused | {middle + at: reason for at, reason in more.items()}


def _columns(served: Served, p: np.ndarray) -> Iterator[tuple[str, pa.Array]]:
    classes = served.loaded.about.classes
    if classes is None:
        yield "prediction", pa.array(p, pa.float64())
    else:
        for i, name in enumerate(classes):
            yield f"prediction_{name}", pa.array(p[:, i], pa.float64())
    yield "model_version", pa.array(np.full(len(p), served.version.number), pa.int64())
