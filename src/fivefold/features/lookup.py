"""A model's features for a request: stored values in one read, then what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from fivefold.core.errors import FivefoldError, Invalid, Unavailable
from fivefold.core.feature_names import derived_expression, feature_types, resolve
from fivefold.core.features import Derived, FeatureView, Request, Udf, chosen
from fivefold.core.learning import Model
from fivefold.core.sources import rows_of
from fivefold.core.time import moment
from fivefold.core.types import Schema, Type
from fivefold.features.compile import Scales
from fivefold.features.entity_keys import key_reader
from fivefold.features.fields import accepted
from fivefold.features.frame import call_udf
from fivefold.features.materialise import key_types, state_view, view_plan
from fivefold.features.state.key import tile_key
from fivefold.features.state.mark import Mark, read_mark, spaces_of
from fivefold.features.state.value import Values
from fivefold.ports.online import MARK, OnlineStore

PRESENT, NULL, ABSENT, EXPIRED = "present", "null", "absent", "expired"
_ARROW = {
    Type.INT64: pa.int64(),
    Type.FLOAT64: pa.float64(),
    Type.BOOL: pa.bool_(),
    Type.STRING: pa.string(),
    Type.TIMESTAMP: pa.int64(),
}
_ATTEMPTS = 20


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """Which rows a view's values were made of: those of a snapshot, and of its stream up to an offset a partition.

    `space` is the view's name in the store, with its meaning.
    """

    space: str
    snapshot: str
    applied: Mapping[int, int]


class Vector(NamedTuple):
    """The features of one row, in the model's order: values, event times (microseconds) and statuses.

    A request value or a derived one has no event time. `seen` says, by view, what the values were made of; a view that
    is not in it was never materialised.
    """

    values: list[Any]
    times: list[int | None]
    statuses: list[str]
    seen: dict[str, Seen]


class _View(NamedTuple):
    name: str
    label: str
    keys: tuple[str, ...]
    read_key: Callable[[Sequence[object]], bytes | None]
    values: Values
    wanted: tuple[tuple[int, bool], ...]
    """Of each of the view's features, where it stands among the model's, and whether it has a time to live."""


class _Held(NamedTuple):
    """What the mark of a view's own space says, read once for each materialisation."""

    raw: bytes | None
    mark: Mark | None
    spaces: tuple[str, ...]


_NOTHING = _Held(None, None, ())


class Lookup:
    """The plan of one model's look-ups, made once.

    `online_name` gives the name of a view in the store. A row is a mapping of entity keys and request values.
    """

    def __init__(
        self,
        model: Model,
        schemas: Mapping[str, Schema],
        scales: Scales,
        online_name: Callable[[FeatureView], str],
    ) -> None:
        types = feature_types(model, schemas)
        self.names = list(types)
        self._place = {n: i for i, n in enumerate(self.names)}
        self.fields = _fields(model, schemas)
        self._views = self._plan_views(model, schemas, scales, online_name)
        self._requests = [(self._place[r.name], r.name) for r in model.features if isinstance(r, Request)]
        self._later = self._plan_derived(model, types)
        # of an entity that no row was ever seen of, a count is zero and everything else null, as in history
        counts = {n for n, (_, a) in chosen(model.features).items() if a.fn in ("count", "distinct")}
        self._nothing: list[Any] = [0 if n in counts else None for n in self.names]
        self._held: list[_Held] = [_NOTHING for _ in self._views]

    @property
    def views(self) -> list[str]:
        """Names of the feature views that are read."""
        return [v.label for v in self._views]

    def materialised(self, store: OnlineStore) -> dict[str, int | None]:
        """By feature view, the moment (microseconds UTC) from which its values answer; None for one that holds none."""
        marks = store.get([(v.name, MARK) for v in self._views])
        return {
            v.label: None if raw is None else read_mark(raw).since for v, raw in zip(self._views, marks, strict=True)
        }

    def _plan_views(
        self,
        model: Model,
        schemas: Mapping[str, Schema],
        scales: Scales,
        online_name: Callable[[FeatureView], str],
    ) -> list[_View]:
        by_view: dict[str, tuple[FeatureView, set[str]]] = {}
        for full, (view, _) in chosen(model.features).items():
            by_view.setdefault(view.name, (view, set()))[1].add(full)
        plans = []
        for view, wanted in by_view.values():
            # all of the view's features are kept together, those of the model are computed
            plan = view_plan(view, schemas, scales)
            kept = state_view(plan, view, schemas)
            bounded = {f"{view.name}.{f.name}" for f in view.features if f.over is None and view.ttl}
            numbers = [n for n, a in enumerate(plan.aggregates) if a.name in wanted]
            places = tuple((self._place[plan.aggregates[n].name], plan.aggregates[n].name in bounded) for n in numbers)
            plans.append(
                _View(
                    online_name(view),
                    view.name,
                    tuple(view.entity.key),
                    key_reader(key_types(view, schemas)),
                    Values(kept, numbers),
                    places,
                )
            )
        return plans

    def _plan_derived(self, model: Model, types: Mapping[str, Type]) -> list[tuple[int, Callable[[list[Any]], Any]]]:
        known = {n: types[n] for n in chosen(model.features)}
        out: list[tuple[int, Callable[[list[Any]], Any]]] = []
        for item in model.features:
            if isinstance(item, Derived):
                expression, names = derived_expression(model, item, known)
                places = [self._place[names[c]] for c in expression.columns]
                out.append((self._place[item.name], _apply(expression.function(), places)))
            elif isinstance(item, Udf):
                inputs = [resolve(short, model, known, item.ref) for short in item.inputs]
                out.append((self._place[item.name], _call(item, [(self._place[n], types[n]) for n in inputs])))
            if isinstance(item, Request | Derived | Udf):
                known[item.name] = types[item.name]
        return out

    def accept(self, row: object) -> dict[str, Any]:
        """A request's row as the features see it: exactly the fields asked for, each of its type.

        Raises Invalid for a field that is missing, unknown or of another type, naming what is accepted.
        """
        return accepted(row, self.fields)

    def vectors(self, store: OnlineStore, rows: Sequence[Mapping[str, Any]], at: int) -> list[Vector | FivefoldError]:
        """The features of accepted rows as of `at` (microseconds UTC), each view's all as of one commit of a partition.

        Of a row whose Udf fails, the reason. Raises Invalid for a moment before what the store holds answers for.
        """
        for _ in range(_ATTEMPTS):
            found = self._read(store, rows, at)
            if found is not None:
                return [self._finish(vector, row) for vector, row in zip(found, rows, strict=True)]
        raise Unavailable("the online store changes faster than it can be read.", hint="Try again.")

    def _read(self, store: OnlineStore, rows: Sequence[Mapping[str, Any]], at: int) -> list[Vector] | None:
        """Stored features of each row; None when a view was made anew meanwhile, which the next attempt knows."""
        pairs: list[tuple[str, bytes]] = []
        for view, held in zip(self._views, self._held, strict=True):
            pairs.append((view.name, MARK))
            # the first space is that of the past, which its own mark says all about
            pairs += [(space, MARK) for space in held.spaces[1:]]
        marks = len(pairs)
        spots: list[tuple[int, int, bytes]] = []
        for i, row in enumerate(rows):
            for v, view in enumerate(self._views):
                key = view.read_key([row[k] for k in view.keys])
                if key is not None:
                    pairs += [(space, key) for space in self._held[v].spaces]
                    spots.append((i, v, key))
        found = store.get(pairs)
        seen = self._seen(found[:marks], at)
        if seen is None:
            return None
        size = len(self.names)
        out = [Vector(self._nothing.copy(), [None] * size, [ABSENT] * size, seen) for _ in rows]
        place = marks
        for i, v, key in spots:
            spaces, view = self._held[v].spaces, self._views[v]
            states = [
                (raw, partial(_tiles, store, space, key))
                for space, raw in zip(spaces, found[place : place + len(spaces)], strict=True)
                if raw is not None
            ]
            place += len(spaces)
            if states:
                try:
                    made = view.values.of(states, at)
                except _Gone:
                    return None
                values, times, statuses, _ = out[i]
                for (where, bounded), (value, time, older) in zip(view.wanted, made, strict=True):
                    values[where], times[where] = value, time
                    if time is not None:
                        statuses[where] = PRESENT if value is not None else NULL
                    elif older and bounded:
                        statuses[where] = EXPIRED
        return out

    def _seen(self, marks: Sequence[bytes | None], at: int) -> dict[str, Seen] | None:
        """What each view's values are made of; None when one was made anew since its mark was last read."""
        seen: dict[str, Seen] = {}
        place, current = 0, True
        for v, view in enumerate(self._views):
            held = self._held[v]
            raw, others = marks[place], marks[place + 1 : place + max(1, len(held.spaces))]
            place += 1 + len(others)
            if raw != held.raw:
                mark = None if raw is None else read_mark(raw)
                self._held[v] = _Held(raw, mark, tuple(spaces_of(view.name, mark)) if mark else ())
                current = False
            elif held.mark is not None:
                streams = [None if m is None else read_mark(m) for m in others]
                since = max([held.mark.since, *(m.since for m in streams if m is not None)])
                if at < since:
                    raise Invalid(
                        f"the feature view {view.label!r} answers for {moment(since)} and later, not for {moment(at)}.",
                        hint="Ask for a later moment; what was known earlier is in history.",
                    )
                cut = sorted(held.mark.cut.items())
                applied = {p: o if m is None else m.applied for (p, o), m in zip(cut, streams, strict=True)}
                seen[view.label] = Seen(view.name, held.mark.snapshot, applied)
        return seen if current else None

    def _finish(self, vector: Vector, row: Mapping[str, Any]) -> Vector | FivefoldError:
        values, _, statuses, _ = vector
        for place, name in self._requests:
            value = row[name]
            values[place] = value
            statuses[place] = PRESENT if value is not None else NULL
        try:
            for place, derive in self._later:
                value = derive(values)
                values[place] = value
                statuses[place] = PRESENT if value is not None else NULL
        except FivefoldError as e:
            return e
        return vector


class _Gone(Exception):
    """The rows of a tile were rewritten after the state that names them was read."""


def _tiles(store: OnlineStore, space: str, key: bytes, refs: Sequence[int]) -> list[bytes]:
    found = store.get([(space, tile_key(key, ref)) for ref in refs])
    if None in found:
        raise _Gone
    return [raw for raw in found if raw is not None]


def _fields(model: Model, schemas: Mapping[str, Schema]) -> dict[str, Type]:
    """What a request must hold: the entity keys of all views, then the request values."""
    out: dict[str, Type] = {}
    for view, _ in chosen(model.features).values():
        for key in view.entity.key:
            out[key] = schemas[rows_of(view.source).name][key]
    out.update({r.name: r.type for r in model.features if isinstance(r, Request)})
    return out


def _apply(function: Callable[..., Any], places: list[int]) -> Callable[[list[Any]], Any]:
    return lambda values: function(*[values[p] for p in places])


def _call(item: Udf, places: list[tuple[int, Type]]) -> Callable[[list[Any]], Any]:
    def call(values: list[Any]) -> Any:
        out = call_udf(item, [pa.chunked_array([pa.array([values[p]], _ARROW[kind])]) for p, kind in places])
        return (out.cast(pa.int64()) if pa.types.is_timestamp(out.type) else out)[0].as_py()

    return call
