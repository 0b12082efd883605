"""Why a prediction is what it is: when, by which version of what, who released that, from which data and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fivefold.catalog.versions import Version
from fivefold.core.canonical import digest
from fivefold.core.errors import NotFound
from fivefold.core.sources import rows_of
from fivefold.core.time import moment
from fivefold.realtime.replay.parts import parts_of
from fivefold.realtime.replay.recompute import meaning_of
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import Prediction, find_prediction
from fivefold.workspace.served import CHAMPION


class Approval(msgspec.Struct, frozen=True):
    """Who made the version champion, when, and why; `decision` is what the gates said."""

    by: str
    at: str
    reason: str
    decision: Any


class Trained(msgspec.Struct, frozen=True):
    """The run that made the version."""

    run: str
    by: str
    status: str
    started: str
    ended: str | None


class Data(msgspec.Struct, frozen=True):
    """A snapshot of a source; `recorded` says when it was taken in."""

    source: str
    snapshot: str
    recorded: str | None


class Code(msgspec.Struct, frozen=True):
    """The commit trained at (empty where there was none), and digests of the model's meaning and of each noun."""

    commit: str
    definition: str
    declarations: Mapping[str, str]


class Origin(msgspec.Struct, frozen=True):
    """The version that answered. `carried_from` says from which environment it was taken over."""

    model: str
    version: int
    key: str
    artifact: str
    made: str
    by: str
    approval: Approval | None
    trained: Trained | None
    carried_from: Any
    code: Code
    environment: Mapping[str, str]
    data: list[Data]


class ViewRows(msgspec.Struct, frozen=True):
    """What the values of a view were made of: a snapshot, of some of its parts so many rows, offsets of its stream."""

    view: str
    data: Data
    pending: Mapping[int, int]
    applied: Mapping[int, int]


class FeatureValue(msgspec.Struct, frozen=True):
    """A feature as it was served."""

    name: str
    value: Any
    status: str
    event_time: str | None


class Why(msgspec.Struct, frozen=True):
    """All that is known of a prediction, or of a look-up of features, which has no version. Times are ISO 8601, UTC."""

    id: str
    at: str
    endpoint: str
    as_of: str
    latency_us: int
    row: Mapping[str, Any]
    prediction: Any
    version: Origin | None
    views: list[ViewRows]
    features: list[FeatureValue]
    members: list[Origin] = []
    """Of an endpoint with steps, the other versions that it asked."""


def why(workspace: Workspace, id: str) -> Why:
    """What is known of a logged prediction. Raises what `find_prediction` raises."""
    return explain(workspace, find_prediction(workspace.state, id))


def explain(workspace: Workspace, found: Prediction) -> Why:
    """What is known of a prediction that was found."""
    parts = parts_of(found)
    sources = {
        f"{prefix}{view.name}": rows_of(view.source).name
        for prefix, part in parts.items()
        for view in meaning_of(workspace, part).views
    }
    return Why(
        found.id,
        moment(found.at),
        found.endpoint,
        moment(found.as_of),
        found.latency_us,
        found.row,
        found.prediction,
        _origin(workspace, found) if found.version else None,
        [
            ViewRows(name, _data(workspace, sources.get(name, name), s.snapshot), dict(s.pending), s.applied)
            for name, s in found.seen.items()
        ],
        [
            FeatureValue(name, value, status, None if time is None else moment(time))
            for name, (value, time, status) in found.features.items()
        ],
        [_origin(workspace, part) for part in parts.values() if part.model != found.model],
    )


def _origin(workspace: Workspace, found: Prediction) -> Origin:
    version = workspace.catalog.versions.get(found.model, found.version)
    info: Any = version.info
    inputs = info["inputs"]
    return Origin(
        version.model,
        version.number,
        version.key,
        version.artifact,
        moment(version.created_at),
        version.actor,
        _approval(workspace, version, found.at),
        _trained(workspace, version),
        info.get("carried_from"),
        Code(
            _commit(workspace, version),
            inputs["model"],
            {ref: digest("noun", told) for ref, told in info["closure"].items()},
        ),
        inputs["environment"],
        [_data(workspace, name, made) for name, made in inputs["snapshots"].items()],
    )


def _approval(workspace: Workspace, version: Version, at: int) -> Approval | None:
    """The last time that the version became champion before it answered."""
    # an endpoint looks twice a second: what answered is not always what was champion at that very moment
    changes = workspace.catalog.aliases.history(version.model, CHAMPION)
    made = [c for c in changes if c.version == version.number and c.valid_from <= at]
    if not made:
        return None
    last = max(made, key=lambda c: (c.valid_from, c.number))
    return Approval(last.actor, moment(last.valid_from), last.reason, last.decision)


def _trained(workspace: Workspace, version: Version) -> Trained | None:
    if version.run_id is None:
        return None
    run = workspace.catalog.runs.get(version.run_id)
    ended = None if run.ended_at is None else moment(run.ended_at)
    return Trained(run.id, run.actor, run.status, moment(run.started_at), ended)


def _commit(workspace: Workspace, version: Version) -> str:
    return "" if version.run_id is None else workspace.catalog.runs.get(version.run_id).tags.get("code.commit", "")


def _data(workspace: Workspace, source: str, snapshot: str) -> Data:
    try:
        recorded = moment(workspace.catalog.snapshots.get(source, snapshot).recorded_at)
    except NotFound:
        recorded = None  # of a version that another environment made
    return Data(source, snapshot, recorded)
