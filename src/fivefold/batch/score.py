"""Every row of a source is scored by a champion, in chunks that are durable steps, and published at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from fivefold.batch.chunks import Job, score_chunk
from fivefold.batch.publish import Manifest, alone, begin, generation, publish, published
from fivefold.core.canonical import Json, digest
from fivefold.core.errors import Invalid
from fivefold.core.noun import noun_digest
from fivefold.core.sources import rows_of
from fivefold.core.uses import BatchJob
from fivefold.flow.steps import Say, Steps, steps_of
from fivefold.workspace import Workspace
from fivefold.workspace.served import Served, champion, require_current

CHUNK_ROWS = 100_000

Progress = Callable[[str, int, int], None]


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
    progress: Progress | None = None,
    say: Say | None = None,
) -> Scored:
    """Score and publish. A killed job goes on with the chunk it had reached; the same inputs publish nothing new.

    Rows without a moment or with a null key, and rows the model cannot take, are kept beside the table with the reason,
    and counted. When it fails, what was published before stays. Raises NotFound without a champion or before the first
    apply, Conflict when something else is where the table belongs, or when the data means something else than what the
    champion was trained on.
    """
    served = champion(workspace, job.model.name)
    require_current(workspace, served, job.over.name)
    folder = _folder(workspace, job)
    inputs = _inputs(workspace, job, served, chunk_rows)
    key = digest("score", inputs)
    with alone(folder):
        held = published(folder)
        if held is not None and held.key == key and all((folder / name).is_file() for name in held.files):
            return Scored(job.name, held, str(folder), new=False)
        made = generation(folder, key)
        begin(folder, made)
        with (
            workspace.database() as connection,
            steps_of(
                workspace.catalog.journal, f"score:{job.name}:{key[:32]}", "score", key=key, request=inputs, say=say
            ) as steps,
        ):
            work = Job(workspace, connection, job, served, made, key[:8])
            ran: list[Manifest] = []

            def whole() -> None:
                ran.append(_publish(work, steps, folder, key, chunk_rows, progress))

            steps.run(job.name, whole)
            if not ran:  # it finished before, and its table was replaced or removed since
                whole()
    return Scored(job.name, ran[0], str(folder), new=True)


def _publish(work: Job, steps: Steps, folder: Path, key: str, chunk_rows: int, progress: Progress | None) -> Manifest:
    """Score all chunks, then put them where the table belongs."""
    total = work.workspace.snapshot(work.job.over.name).rows
    starts = list(range(0, total, chunk_rows))
    parts = []
    for done, start in enumerate(starts):
        chunk = partial(score_chunk, work, start, chunk_rows)
        part = steps.run(f"chunk-{done:05}", chunk)
        if not all((work.made / name).is_file() for name in part["files"]):
            part = chunk()  # the generation was removed since
        parts.append(part)
        if progress:
            progress(work.job.ref, done + 1, len(starts))
    if not sum(p["scored"] for p in parts):
        # a table without rows still has its columns
        parts.append(score_chunk(work, total, 0))
    manifest = Manifest(
        key,
        work.job.name,
        work.job.model.name,
        work.served.version.number,
        sum(p["rows"] for p in parts),
        sum(p["scored"] for p in parts),
        sum(p["rejected"] for p in parts),
        {n: d for p in parts for n, d in p["files"].items()},
    )
    if manifest.rows_in != manifest.rows_scored + manifest.rows_rejected or manifest.rows_in != total:
        raise Invalid(
            f"{work.job.ref}: {manifest.rows_in} rows were read of {total}; {manifest.rows_scored} scored and "
            f"{manifest.rows_rejected} rejected do not add up.",
            hint="This is a bug: please report it.",
        )
    publish(folder, work.made, manifest)
    return manifest


def _folder(workspace: Workspace, job: BatchJob) -> Path:
    url = workspace.env.tables.get(job.into.name, job.into.url)
    if "://" in url and not url.startswith("file://"):
        raise Invalid(
            f"{job.ref}: predictions are published to folders, not to {url!r}.", hint="Give the table a path."
        )
    # environments share nothing: only dev publishes to the declared path itself, unless fivefold.toml names another
    own = workspace.env.name == "dev" or job.into.name in workspace.env.tables
    folder = (workspace.root if own else workspace.state) / url.removeprefix("file://").removeprefix("files:")
    # the folder itself may be a link (to what is published), its parents are taken as they are
    return folder.parent.resolve() / folder.name


def _inputs(workspace: Workspace, job: BatchJob, served: Served, chunk_rows: int) -> dict[str, Json]:
    read = [rows_of(view.source).name for view in served.views]
    return {
        "job": noun_digest(job),
        "into": noun_digest(job.into),
        "version": served.version.key,
        "over": workspace.snapshot(job.over.name).digest,
        "features": {n: workspace.snapshot(n).digest for n in dict.fromkeys(read)},
        "chunk_rows": chunk_rows,
    }
