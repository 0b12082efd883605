"""Was what was served what history says? Logged predictions are computed again from archived rows alone."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import msgspec

from fivefold.core.features import FeatureView, chosen
from fivefold.core.time import moment
from fivefold.features.lookup import FALLBACK, Seen
from fivefold.realtime.replay.parts import parts_of
from fivefold.realtime.replay.recompute import again, archive_applied, meaning_of, same, unknown
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import LOOKUPS, Prediction, newest_predictions
from fivefold.workspace.served import Meaning

_EXAMPLES = 3


class Difference(msgspec.Struct, frozen=True):
    """A value that was served and is another in history."""

    prediction: str
    entity: dict[str, Any]
    as_of: str
    served: Any
    served_event: str | None
    history: Any
    history_event: str | None


class Feature(msgspec.Struct):
    """How many values of a feature were compared, how many differ, and the first of those."""

    name: str
    compared: int = 0
    differ: int = 0
    examples: list[Difference] = []

    @property
    def rate(self) -> float:
        """The share that differs."""
        return self.differ / self.compared if self.compared else 0.0


class Skew(msgspec.Struct, frozen=True):
    """A skew report. `left_out` counts predictions that could not be computed again, by reason."""

    predictions: int
    compared: int
    differ: int
    features: list[Feature]
    left_out: Mapping[str, int]


class _Asked(msgspec.Struct, frozen=True):
    prediction: Prediction
    view: FeatureView
    names: tuple[str, ...]
    meaning: Meaning


def skew(workspace: Workspace, *, sample: int = 1000, newest: int = 20_000, endpoint: str = "", seed: int = 0) -> Skew:
    """Compare `sample` of the `newest` logged predictions, feature by feature, bit by bit, with their event times.

    Logged look-ups of features are taken for predictions, of no endpoint.

    Each is computed from the snapshot that its view's past was made of and the archived events up to the offsets that
    had been applied when it was served; the online store is not read. What is applied is archived first.
    """
    archive_applied(workspace)
    logged = [*newest_predictions(workspace.state, newest), *newest_predictions(workspace.state, newest, LOOKUPS)]
    found = [p for p in logged if not endpoint or p.endpoint == endpoint]
    picked = random.Random(seed).sample(found, min(sample, len(found)))
    left_out: dict[str, int] = {}
    features: dict[str, Feature] = {}
    with workspace.database() as connection:
        for seen, asked in _grouped(_asked(workspace, picked, left_out)):
            _compare(workspace, connection, seen, asked, features, left_out)
    ordered = [features[name] for name in sorted(features)]
    return Skew(len(picked), sum(f.compared for f in ordered), sum(f.differ for f in ordered), ordered, left_out)


def _asked(
    workspace: Workspace, picked: Iterable[Prediction], left_out: dict[str, int]
) -> Iterator[tuple[Seen, _Asked]]:
    """Each view of each prediction that has one, with the rows it was made of."""
    meanings: dict[tuple[str, int], Meaning] = {}
    for one in [part for whole in picked for part in parts_of(whole).values()]:
        version = (one.model, one.version)
        if version not in meanings:
            meanings[version] = meaning_of(workspace, one)
        used = meanings[version]
        for view in used.views:
            seen = one.seen.get(view.name)
            names = tuple(n for n in chosen([view]) if n in one.features)
            if not names:
                continue
            if one.features[names[0]][2] == FALLBACK:
                reason = f"declared values stood for {view.name}, since the online store did not answer"
            else:
                reason = unknown(view, seen, used)
            if reason:
                left_out[reason] = left_out.get(reason, 0) + 1
            elif seen is not None:
                yield seen, _Asked(one, view, names, used)


def _grouped(asked: Iterable[tuple[Seen, _Asked]]) -> Iterator[tuple[Seen, list[_Asked]]]:
    """Those together that are the same features, made of the same rows."""
    groups: dict[tuple[Any, ...], tuple[Seen, list[_Asked]]] = {}
    for seen, one in asked:
        key = (seen.space, seen.snapshot, tuple(sorted(seen.applied.items())), seen.pending, one.names)
        groups.setdefault(key, (seen, []))[1].append(one)
    # those of one snapshot one after the other
    yield from (groups[key] for key in sorted(groups))


def _compare(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    seen: Seen,
    asked: Sequence[_Asked],
    features: dict[str, Feature],
    left_out: dict[str, int],
) -> None:
    view = asked[0].view
    found = again(workspace, connection, view, seen, asked[0].meaning, [a.prediction for a in asked])
    if isinstance(found, str):
        left_out[found] = left_out.get(found, 0) + len(asked)
        return
    for name in asked[0].names:
        feature = features.setdefault(name, Feature(name))
        for one, value, time in zip(asked, *found[name], strict=True):
            served, event, _ = one.prediction.features[name]
            feature.compared += 1
            if not same(served, value) or event != time:
                feature.differ += 1
                if len(feature.examples) < _EXAMPLES:
                    feature.examples = [*feature.examples, _difference(one, view.entity.key, name, value, time)]


def _difference(one: _Asked, keys: Sequence[str], name: str, value: Any, time: int | None) -> Difference:
    prediction = one.prediction
    served, event, _ = prediction.features[name]
    return Difference(
        prediction.id,
        {k: prediction.row.get(k) for k in keys},
        moment(prediction.as_of),
        served,
        None if event is None else moment(event),
        value,
        None if time is None else moment(time),
    )
