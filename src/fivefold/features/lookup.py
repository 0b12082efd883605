"""A model's features for a request: stored values in one read, then what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from fivefold.core.errors import FivefoldError
from fivefold.core.feature_names import derived_expression, feature_types, resolve
from fivefold.core.features import Derived, FeatureView, Request, Udf, chosen
from fivefold.core.learning import Model
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.features.entity_keys import key_reader
from fivefold.features.fields import accepted
from fivefold.features.frame import call_udf
from fivefold.features.materialise import read_mark
from fivefold.ports.online import MARK, OnlineStore

PRESENT, NULL, ABSENT = "present", "null", "absent"
_ARROW = {
    Type.INT64: pa.int64(),
    Type.FLOAT64: pa.float64(),
    Type.BOOL: pa.bool_(),
    Type.STRING: pa.string(),
    Type.TIMESTAMP: pa.int64(),
}
_read = msgspec.msgpack.Decoder(tuple[list[Any], list[int | None]]).decode


class Vector(NamedTuple):
    """The features of one row, in the model's order: values, event times (microseconds) and statuses.

    A request value or a derived one has no event time. `as_of` holds, by view, the moment its values were made for; a
    view that is not in it was never materialised.
    """

    values: list[Any]
    times: list[int | None]
    statuses: list[str]
    as_of: dict[str, int]


class _View(NamedTuple):
    name: str
    label: str
    keys: tuple[str, ...]
    read_key: Callable[[Sequence[object]], bytes | None]
    wanted: tuple[str, ...]
    places: tuple[int, ...]


class _Held(NamedTuple):
    """What the mark of a view says, read once for each materialisation."""

    raw: bytes | None
    at: int
    order: tuple[tuple[int, int], ...]


class Lookup:
    """The plan of one model's look-ups, made once.

    `online_name` gives the name of a view in the store. A row is a mapping of entity keys and request values.
    """

    def __init__(self, model: Model, schemas: Mapping[str, Schema], online_name: Callable[[FeatureView], str]) -> None:
        types = feature_types(model, schemas)
        self.names = list(types)
        self._place = {n: i for i, n in enumerate(self.names)}
        self.fields = _fields(model, schemas)
        self._views = self._plan_views(model, schemas, online_name)
        self._requests = [(self._place[r.name], r.name) for r in model.features if isinstance(r, Request)]
        self._later = self._plan_derived(model, types)
        # of an entity that no row was ever seen of, a count is zero and everything else null, as in history
        counts = {n for n, (_, a) in chosen(model.features).items() if a.fn in ("count", "distinct")}
        self._nothing: list[Any] = [0 if n in counts else None for n in self.names]
        self._pairs_of_marks = [(v.name, MARK) for v in self._views]
        self._held: list[_Held] = [_Held(None, 0, ()) for _ in self._views]

    @property
    def views(self) -> list[str]:
        """Names of the feature views that are read."""
        return [v.label for v in self._views]

    def materialised(self, store: OnlineStore) -> dict[str, int | None]:
        """By feature view, the moment (microseconds UTC) its values were made for; None for one that holds none."""
        marks = store.get(self._pairs_of_marks)
        return {v.label: None if raw is None else read_mark(raw).at for v, raw in zip(self._views, marks, strict=True)}

    def _plan_views(
        self, model: Model, schemas: Mapping[str, Schema], online_name: Callable[[FeatureView], str]
    ) -> list[_View]:
        by_view: dict[str, tuple[FeatureView, list[str]]] = {}
        for full, (view, _) in chosen(model.features).items():
            by_view.setdefault(view.name, (view, []))[1].append(full)
        plans = []
        for view, wanted in by_view.values():
            types = [schemas[rows_of(view.source).name][k] for k in view.entity.key]
            plans.append(
                _View(
                    online_name(view),
                    view.name,
                    tuple(view.entity.key),
                    key_reader(types),
                    tuple(wanted),
                    tuple(self._place[w] for w in wanted),
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

    def vectors(self, store: OnlineStore, rows: Sequence[Mapping[str, Any]]) -> list[Vector | FivefoldError]:
        """The features of accepted rows, all as of one commit of the store; for a row whose Udf fails, the reason."""
        pairs: list[tuple[str, bytes]] = list(self._pairs_of_marks)
        spots: list[tuple[int, int]] = []
        for i, row in enumerate(rows):
            for v, view in enumerate(self._views):
                key = view.read_key([row[k] for k in view.keys])
                if key is not None:
                    pairs.append((view.name, key))
                    spots.append((i, v))
        found = store.get(pairs)
        held = [self._known(v, found[v]) for v in range(len(self._views))]
        as_of = {view.label: h.at for view, h in zip(self._views, held, strict=True) if h.raw is not None}
        size = len(self.names)
        out = [Vector(self._nothing.copy(), [None] * size, [ABSENT] * size, as_of) for _ in rows]
        for (i, v), raw in zip(spots, found[len(self._views) :], strict=True):
            if raw is not None:
                stored, moments = _read(raw)
                values, times, statuses, _ = out[i]
                for place, at in held[v].order:
                    value, moment = stored[at], moments[at]
                    values[place], times[place] = value, moment
                    if moment is not None:
                        statuses[place] = PRESENT if value is not None else NULL
        return [self._finish(vector, row) for vector, row in zip(out, rows, strict=True)]

    def _known(self, v: int, raw: bytes | None) -> _Held:
        """What a view's mark says; it changes with each materialisation only, so it is decoded once."""
        held = self._held[v]
        if held.raw != raw:
            view = self._views[v]
            if raw is None:
                held = _Held(None, 0, ())
            else:
                mark = read_mark(raw)
                order = tuple(zip(view.places, map(mark.names.index, view.wanted), strict=True))
                held = _Held(raw, mark.at, order)
            self._held[v] = held
        return held

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
