"""The rows a model learns from: its target's rows with their labels, and every feature as of each row's moment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.expressions import parse
from fivefold.core.features import Request, chosen
from fivefold.core.learning import GroupSplit, Model
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.data.duck import ident, parquet
from fivefold.features.frame import frame
from fivefold.features.kernel.rows import first_of_each
from fivefold.workspace import Workspace

LABEL, TIME, KNOWN, ROW = "__label", "__time", "__known", "__row"


class TrainingRows(msgspec.Struct, frozen=True):
    """A table of features and request values, with label, time, known and row identity under reserved names."""

    table: pa.Table
    label: Type
    unlabelled: int

    def micros(self, column: str) -> np.ndarray:
        """A timestamp column as int64 microseconds UTC; null is the largest int64: never known."""
        values = self.table[column].cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
        return np.asarray(values.to_numpy())


def training_rows(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    schemas: Mapping[str, Schema],
    progress: Callable[[str, int, int], None] | None = None,
) -> TrainingRows:
    """Read a model's spine and join every feature to it.

    Rows without a moment or a label are left out (`unlabelled` counts the latter). Raises Invalid when none remain.
    """
    source = rows_of(model.target.source)
    assert source.time is not None
    snapshot = workspace.snapshot(source.name)
    label = parse(model.target.label, schemas[source.name], f"{model.ref}, label")
    columns = dict.fromkeys(spine_columns(model))
    selected = ", ".join([*(ident(c) for c in columns), f"{label.sql()} as {LABEL}", f"{ident(source.time)} as {TIME}"])
    if model.target.known:
        selected += f", {ident(model.target.known)} as {KNOWN}"
    identity = ident(source.id) if source.id else f"concat_ws('|', {', '.join(ident(c) for c in schemas[source.name])})"
    rows = parquet(snapshot.files(workspace.places.tables))
    spine = connection.sql(
        f"select {selected}, cast({identity} as varchar) as {ROW} from {rows} where {ident(source.time)} is not null"
    ).to_arrow_table()
    if source.id:
        # what a stream brought and a file repeats is one row: the first in source order, as for features
        spine = spine.filter(pa.array(first_of_each(spine[ROW].combine_chunks())))
    labelled = spine.filter(spine[LABEL].is_valid())
    if labelled.num_rows == 0:
        raise Invalid(
            f"{model.ref}: none of the {spine.num_rows} rows of {source.ref} has a label.",
            hint=f"Look at {model.target.label!r}.",
        )
    table = frame(
        connection,
        model,
        labelled,
        TIME,
        schemas,
        workspace.scales(),
        lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables)),
        threads=workspace.env.threads,
        progress=progress,
    )
    return TrainingRows(table, label.type, spine.num_rows - labelled.num_rows)


def spine_columns(model: Model) -> list[str]:
    """The source's columns that a model's rows need beside time and label: keys, request values, groups, segments."""
    keys = [k for view, _ in chosen(model.features).values() for k in view.entity.key]
    requests = [r.name for r in model.features if isinstance(r, Request)]
    others = [
        model.target.group,
        *(g.segment for g in model.gates),
        model.split.by if isinstance(model.split, GroupSplit) else None,
    ]
    return list(dict.fromkeys([*keys, *requests, *(c for c in others if c)]))


def row_names(column: pa.ChunkedArray) -> list[str]:
    """Short, stable identities of rows; equal ones are told apart by their order of appearance."""
    seen: dict[str, int] = {}
    out = []
    for value in column.to_pylist():
        text = (
            value
            if value is not None and len(value) <= 40
            else hashlib.blake2b((value or "").encode(), digest_size=16).hexdigest()
        )
        again = seen.get(text, 0)
        seen[text] = again + 1
        out.append(text if not again else f"{text}#{again}")
    return out
