"""Features that were served, computed again from the rows that had been seen: those of history and of the archive.

The online store is not read for their values. `skew` does this for a sample, `why --replay` for one prediction.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import msgspec
import pyarrow as pa

from fivefold.core.errors import FivefoldError, Unavailable
from fivefold.core.features import FeatureView, chosen
from fivefold.core.sources import Stream
from fivefold.data.parts import arrow_schema
from fivefold.features.asof import as_of
from fivefold.features.lookup import FALLBACK, Seen
from fivefold.features.materialise import key_types, view_plan
from fivefold.realtime.endpoints.answering import Answering
from fivefold.realtime.endpoints.steps import Steps
from fivefold.realtime.replay.parts import parts_of
from fivefold.realtime.replay.rows_seen import rows_seen
from fivefold.realtime.streams.archiving import archive
from fivefold.workspace import Workspace
from fivefold.workspace.graphs import kept_graph
from fivefold.workspace.prediction_files import StepsUsed
from fivefold.workspace.predictions import Prediction
from fivefold.workspace.served import Meaning, meaning, served

_MOMENT = "__moment"


def archive_applied(workspace: Workspace) -> None:
    """Archive what the streams' workers have applied: it is computed from there."""
    for stream in workspace.project.of(Stream.kind):
        assert isinstance(stream, Stream)
        store, broker = workspace.online(), workspace.broker(stream)
        try:
            archive(workspace, stream, store, broker.partitions())
        finally:
            broker.close()
            store.close()


def meaning_of(workspace: Workspace, prediction: Prediction) -> Meaning:
    """What the features of a prediction meant: to its version, or, of a look-up, what the project file means now."""
    if prediction.version:
        return meaning(workspace, workspace.catalog.versions.get(prediction.model, prediction.version))
    found = [workspace.find_snapshot(n.name) for n in workspace.project.of("table", "view")]
    return Meaning(workspace.project, {s.source: s.schema for s in found if s is not None}, workspace.scales())


def unknown(view: FeatureView, seen: Seen | None, used: Meaning) -> str:
    """Why the values of a view cannot be computed again; empty when they can."""
    if seen is None:
        return f"no values of {view.name} were materialised"
    if seen.space != used.online_name(view):
        return f"{view.name} meant something else when it was looked up"
    return ""


def again(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    seen: Seen,
    used: Meaning,
    predictions: Sequence[Prediction],
) -> dict[str, tuple[list[Any], list[int | None]]] | str:
    """By feature of a view, its values and event times (µs) for predictions that were made of the same rows.

    A text when the rows cannot be had: it says why.
    """
    keys = tuple(view.entity.key)
    kinds = key_types(view, used.schemas)
    entities = {k: [p.row.get(k) for p in predictions] for k in keys}
    rows = rows_seen(workspace, view, seen, entities, kinds)
    if isinstance(rows, str):
        return rows
    schema = arrow_schema(dict(zip(keys, kinds, strict=True)))
    spine = pa.table(
        {
            **{k: pa.array(values, schema.field(k).type) for k, values in entities.items()},
            _MOMENT: pa.array([p.as_of for p in predictions], pa.int64()),
        }
    )
    connection.register("rows_seen", rows)
    plan = view_plan(view, used.schemas, used.scales, lambda name: "rows_seen")
    found = as_of(spine, _MOMENT, [plan], connection=connection, event_times=True, threads=workspace.env.threads)
    connection.unregister("rows_seen")
    return {a.name: (_plain(found[a.name]), _plain(found[f"{a.name}__time"])) for a in plan.aggregates}


class Changed(msgspec.Struct, frozen=True):
    """A feature whose value or event time was served so, and is another in history. Times are µs UTC."""

    name: str
    served: Any
    served_event: int | None
    history: Any
    history_event: int | None


class Replay(msgspec.Struct, frozen=True):
    """What a prediction came to when it was computed again. A look-up of features has no prediction.

    `compared` counts features; of a look-up, only those that are stored are.
    """

    equal: bool
    compared: int
    changed: list[Changed]
    served: Any
    predicted: Any


class _Again(NamedTuple):
    """A model's features computed again, and what it says to them; nothing, of a look-up of features."""

    values: dict[str, Any]
    times: dict[str, int | None]
    prediction: Any = None
    said: Any = None


def replay(workspace: Workspace, prediction: Prediction) -> Replay:
    """Compute a prediction again: its features from history and archive, then what its packaged version says to them.

    With steps, what each model says goes through the steps as they were. Raises Unavailable when the rows that it was
    made of cannot be had, NotFound or Unsupported when the steps cannot, and what loading the version raises.
    """
    archive_applied(workspace)
    with workspace.database() as connection:
        if prediction.steps is None:
            answering = _answering(workspace, prediction) if prediction.version else None
            values, times, _, predicted = _again(workspace, connection, prediction, answering)
        else:
            values, times, predicted = _steps_again(workspace, connection, prediction, prediction.steps)
    changed = [
        Changed(name, was, event, values[name], times.get(name))
        for name, (was, event, _) in prediction.features.items()
        if name in values and not (same(was, _as_logged(values[name])) and event == times.get(name))
    ]
    equal = not changed and _same_prediction(prediction.prediction, predicted)
    compared = sum(name in values for name in prediction.features)
    return Replay(equal, compared, changed, prediction.prediction, predicted)


def _answering(workspace: Workspace, prediction: Prediction) -> Answering:
    version = workspace.catalog.versions.get(prediction.model, prediction.version)
    return Answering(prediction.endpoint, served(workspace, version))


def _again(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    prediction: Prediction,
    answering: Answering | None,
) -> _Again:
    used = meaning_of(workspace, prediction)
    values: dict[str, Any] = {}
    times: dict[str, int | None] = {}
    for view in used.views:
        seen = prediction.seen.get(view.name)
        names = [name for name in chosen([view]) if name in prediction.features]
        if names and prediction.features[names[0]][2] == FALLBACK:
            # nothing of history stands behind them: they are taken as they were
            values |= {name: prediction.features[name][0] for name in names}
            times |= dict.fromkeys(names)
            continue
        if seen is None or not names:
            continue
        found = unknown(view, seen, used) or _found(workspace, connection, view, seen, used, prediction)
        if isinstance(found, str):
            raise Unavailable(f"{prediction.id} cannot be computed again: {found}.")
        for name, ((value,), (time,)) in found.items():
            values[name], times[name] = value, time
    if answering is None:
        return _Again(values, times)
    made = answering.lookup.made_of(values, prediction.row)
    values = dict(zip(answering.lookup.names, made, strict=True))
    loaded = answering.served.loaded
    (said,) = loaded.predictor.predict(loaded.encoding.row(made)).tolist()
    return _Again(values, times, said, answering.signature.said(said))


def _steps_again(
    workspace: Workspace, connection: duckdb.DuckDBPyConnection, prediction: Prediction, used: StepsUsed
) -> tuple[dict[str, Any], dict[str, int | None], Any]:
    """Values and event times of all features, and the answer; each model is asked what the steps before it make now."""
    parts = {part.model: part for part in parts_of(prediction).values()}
    members = {model: _answering(workspace, part) for model, part in parts.items()}
    nouns = [
        members[step].served.model if isinstance(step, str) else step for step in kept_graph(workspace, used.graph)
    ]
    steps = Steps(f"endpoint:{prediction.endpoint}", nouns, {n: m.signature for n, m in members.items()})
    values: dict[str, Any] = {}
    times: dict[str, int | None] = {}

    def ask(model: str, _: Sequence[int], rows: list[dict[str, Any]]) -> list[Any]:
        (row,) = rows
        part = msgspec.structs.replace(parts[model], row=row)
        made = _again(workspace, connection, part, members[model])
        values.update({f"{model}.{name}": value for name, value in made.values.items()})
        times.update({f"{model}.{name}": time for name, time in made.times.items()})
        return [made.prediction]

    (known,) = steps.run([prediction.row], ask)
    if isinstance(known, FivefoldError):
        raise known
    values.update({name: known[name] for name in steps.types})
    said = steps.answer(known)
    return values, times, said if steps.classes is None else dict(zip(steps.classes, said, strict=True))


def _found(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    seen: Seen,
    used: Meaning,
    prediction: Prediction,
) -> dict[str, tuple[list[Any], list[int | None]]] | str:
    try:
        return again(workspace, connection, view, seen, used, [prediction])
    except FileNotFoundError as e:
        return f"rows of {view.name} are gone ({e})"


def _same_prediction(served: Any, predicted: Any) -> bool:
    if isinstance(served, Mapping) and isinstance(predicted, Mapping):
        return served.keys() == predicted.keys() and all(
            same(value, _as_logged(predicted[name])) for name, value in served.items()
        )
    return same(served, _as_logged(predicted))


def _as_logged(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit; the log is JSON, where a float may have become a whole number."""
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and struct.pack("<d", a) == struct.pack("<d", b)
    return type(a) is type(b) and bool(a == b)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    return list((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())
