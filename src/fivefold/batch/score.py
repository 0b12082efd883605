"""Every row of a source is scored by a champion, in chunks that are durable steps, and published at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fivefold.batch.publish import Manifest, clean, generation, publish, published
from fivefold.core.canonical import Json, digest
from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.features import Request, chosen
from fivefold.core.noun import noun_digest
from fivefold.core.sources import rows_of
from fivefold.core.uses import BatchJob
from fivefold.data.duck import ident, parquet
from fivefold.features.frame import frame
from fivefold.flow.steps import steps_of
from fivefold.workspace import Workspace
from fivefold.workspace.served import Served, champion

CHUNK_ROWS = 100_000
REJECTED = "_rejected"
MOMENT = "__moment"


class Scored(msgspec.Struct, frozen=True):
    """What a job came to; `new` is False when the same inputs were published already."""

    job: str
    manifest: Manifest
    folder: str
    new: bool


def score(
    workspace: Workspace,
    job: BatchJob,
    *,
    chunk_rows: int = CHUNK_ROWS,
    progress: Callable[[str, int, int], None] | None = None,
) -> Scored:
    """Score and publish. A killed job goes on with the chunk it had reached; the same inputs publish nothing new.

    Rows without a moment or with a null key are rejected, kept beside the table with the reason, and counted. Raises
    NotFound without a champion or before the first apply, Conflict when something else is where the table belongs.
    """
    served = champion(workspace, job.model.name)
    folder = _folder(workspace, job)
    inputs = _inputs(workspace, job, served, chunk_rows)
    key = digest("score", inputs)
    held = published(folder)
    if held is not None and held.key == key:
        return Scored(job.name, held, str(folder), new=False)
    made = generation(folder, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    clean(folder, keep=made)
    work = f"score:{job.name}:{key[:32]}"
    total = workspace.snapshot(job.over.name).rows
    starts = list(range(0, total, chunk_rows)) or [0]
    with (
        workspace.database() as connection,
        steps_of(workspace.catalog.journal, work, "score", key=key, request=inputs) as steps,
    ):
        parts = []
        for done, start in enumerate(starts):
            chunk = partial(_chunk, workspace, connection, job, served, made, start, chunk_rows)
            part = steps.run(f"chunk-{done:05}", chunk)
            if not all((made / name).is_file() for name in part["files"]):
                part = chunk()  # the generation was cleaned away since
            parts.append(part)
            if progress:
                progress(job.ref, done + 1, len(starts))
        manifest = Manifest(
            key,
            job.name,
            job.model.name,
            served.version.number,
            sum(p["rows"] for p in parts),
            sum(p["scored"] for p in parts),
            sum(p["rejected"] for p in parts),
            {n: d for p in parts for n, d in p["files"].items()},
        )
        if manifest.rows_in != manifest.rows_scored + manifest.rows_rejected or manifest.rows_in != total:
            raise Invalid(
                f"{job.ref}: {manifest.rows_in} rows were read of {total}; {manifest.rows_scored} scored and "
                f"{manifest.rows_rejected} rejected do not add up.",
                hint="This is a bug: please report it.",
            )
        publish(folder, made, manifest)
        steps.run(job.name, lambda: None)
    return Scored(job.name, manifest, str(folder), new=True)


def _folder(workspace: Workspace, job: BatchJob) -> Path:
    url = workspace.env.tables.get(job.into.name, job.into.url)
    if "://" in url and not url.startswith("file://"):
        raise Invalid(
            f"{job.ref}: predictions are published to folders, not to {url!r}.", hint="Give the table a path."
        )
    folder = workspace.root / url.removeprefix("file://").removeprefix("files:")
    # the folder itself may be a link (to what is published), its parents are taken as they are
    return folder.parent.resolve() / folder.name


def _inputs(workspace: Workspace, job: BatchJob, served: Served, chunk_rows: int) -> dict[str, Json]:
    read = [rows_of(view.source).name for view in served.views]
    return {
        "job": noun_digest(job),
        "version": served.version.key,
        "over": workspace.snapshot(job.over.name).digest,
        "features": {n: workspace.snapshot(n).digest for n in dict.fromkeys(read)},
        "chunk_rows": chunk_rows,
    }


def _chunk(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    job: BatchJob,
    served: Served,
    made: Path,
    start: int,
    count: int,
) -> dict[str, Any]:
    over, model = workspace.snapshot(job.over.name), served.model
    assert job.over.time is not None
    keys = list(dict.fromkeys(k for view, _ in chosen(model.features).values() for k in view.entity.key))
    requests = [r.name for r in model.features if isinstance(r, Request)]
    shown = list(dict.fromkeys([*([job.over.id] if job.over.id else []), *keys, job.over.time, *job.into.partition]))
    columns = ", ".join(ident(c) for c in dict.fromkeys([*shown, *requests]))
    # parts are read in order, so a slice is the same rows each time
    rows = connection.sql(
        f"select {columns}, {ident(job.over.time)} as {MOMENT} "
        f"from {parquet(over.files(workspace.places.tables))} limit {count} offset {start}"
    ).to_arrow_table()
    lacking = [MOMENT, *keys]
    good = pc.is_valid(rows[MOMENT])
    for name in lacking[1:]:
        good = pc.and_(good, pc.is_valid(rows[name]))
    accepted, rejected = rows.filter(good), rows.filter(pc.invert(good))
    table = frame(
        connection,
        model,
        accepted,
        MOMENT,
        served.schemas,
        served.scales,
        lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables)),
        threads=workspace.env.threads,
    )
    p = served.loaded.predict(table)
    out = table.select(shown)
    for name, values in _columns(served, p):
        out = out.append_column(name, values)
    files = dict(_write(out, list(job.into.partition), made, start))
    if rejected.num_rows:
        reasons = [
            ", ".join(f"{job.over.time if n == MOMENT else n} is null" for n in lacking if r[n] is None)
            for r in rejected.select(lacking).to_pylist()
        ]
        aside = rejected.drop_columns([MOMENT]).append_column("reason", pa.array(reasons, pa.string()))
        name = f"{REJECTED}/part-{start:012}.parquet"
        files[name] = _write_part(aside, made / name)
    return {"rows": rows.num_rows, "scored": out.num_rows, "rejected": rejected.num_rows, "files": files}


def _columns(served: Served, p: np.ndarray) -> Iterator[tuple[str, pa.Array]]:
    classes = served.loaded.about.classes
    if classes is None:
        yield "prediction", pa.array(p, pa.float64())
    else:
        for i, name in enumerate(classes):
            yield f"prediction_{name}", pa.array(p[:, i], pa.float64())
    yield "model_version", pa.array(np.full(len(p), served.version.number), pa.int64())


def _write(table: pa.Table, by: list[str], made: Path, start: int) -> Iterator[tuple[str, str]]:
    """Write rows below hive folders (`day=2013-12-31/`); rows keep their order. Yields names and digests."""
    if not by:
        name = f"part-{start:012}.parquet"
        yield name, _write_part(table, made / name)
        return
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, value in enumerate(zip(*[table[c].to_pylist() for c in by], strict=True)):
        groups.setdefault(
            tuple("__HIVE_DEFAULT_PARTITION__" if v is None else _folder_name(v) for v in value), []
        ).append(i)
    if not groups:
        yield (name := f"part-{start:012}.parquet"), _write_part(table.drop_columns(by), made / name)
    for value, places in sorted(groups.items()):
        name = "/".join(f"{c}={v}" for c, v in zip(by, value, strict=True)) + f"/part-{start:012}.parquet"
        yield name, _write_part(table.take(pa.array(places)).drop_columns(by), made / name)


def _folder_name(value: object) -> str:
    """A partition value as hive writes it in a path: what could be misread is percent-encoded."""
    from urllib.parse import quote

    return (
        quote(str(value), safe=" -_:+,") if str(value) not in (".", "..", "") else quote(str(value), safe="") or "%00"
    )


def _write_part(table: pa.Table, path: Path) -> str:
    """One pinned call, so that equal rows are equal bytes; the file has its name only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        pq.write_table(
            table.combine_chunks(), temporary, compression="zstd", row_group_size=131_072, store_schema=False
        )
        with temporary.open("rb") as f:
            os.fsync(f.fileno())
            found = hashlib.file_digest(f, "sha256").hexdigest()
        os.replace(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise Unavailable(
            f"cannot write {path}: {e.strerror or e}.",
            hint="Free some space and run it again: it goes on where it was.",
        ) from e
    return found
