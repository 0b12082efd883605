"""A model's features for a request: stored values in one read, then what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.feature_names import derived_expression, feature_types, resolve
from fivefold.core.features import Derived, FeatureView, Request, Udf, chosen
from fivefold.core.learning import Model
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.features.entity_keys import key_reader
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

    A request value or a derived one has no event time.
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

    def check(self, row: Mapping[str, Any]) -> None:
        """Raise Invalid for a field that is missing, unknown or of another type, naming what is accepted."""
        for name, kind in self.fields.items():
            if name not in row:
                raise Invalid(f"the field {name!r} is missing.", hint=f"Send all of: {', '.join(self.fields)}.")
            value = row[name]
            if value is not None and not _fits(value, kind):
                raise Invalid(f"the field {name!r} is {value!r}, which is not {kind}.", hint="null is accepted too.")
        for name in row:
            if name not in self.fields:
                raise Invalid(
                    f"there is no field {name!r} (accepted: {', '.join(self.fields)}).",
                    hint=did_you_mean(name, self.fields),
                )

    def vectors(self, store: OnlineStore, rows: Sequence[Mapping[str, Any]]) -> list[Vector]:
        """The features of rows whose fields were checked, all as of one commit of the store."""
        pairs: list[tuple[str, bytes]] = list(self._pairs_of_marks)
        spots: list[tuple[int, _View]] = []
        for i, row in enumerate(rows):
            for view in self._views:
                key = view.read_key([row[k] for k in view.keys])
                if key is not None:
                    pairs.append((view.name, key))
                    spots.append((i, view))
        found = store.get(pairs)
        marks = [None if raw is None else read_mark(raw) for raw in found[: len(self._views)]]
        as_of = {v.label: m.at for v, m in zip(self._views, marks, strict=True) if m is not None}
        orders = {
            v.name: None if m is None else [m.names.index(w) for w in v.wanted]
            for v, m in zip(self._views, marks, strict=True)
        }
        size = len(self.names)
        out = [Vector(self._nothing.copy(), [None] * size, [ABSENT] * size, as_of) for _ in rows]
        for (i, view), raw in zip(spots, found[len(self._views) :], strict=True):
            order = orders[view.name]
            if raw is not None and order is not None:
                values, times = _read(raw)
                vector = out[i]
                for place, at in zip(view.places, order, strict=True):
                    vector.values[place], vector.times[place] = values[at], times[at]
                    if times[at] is not None:
                        vector.statuses[place] = PRESENT if values[at] is not None else NULL
        for vector, row in zip(out, rows, strict=True):
            self._finish(vector, row)
        return out

    def _finish(self, vector: Vector, row: Mapping[str, Any]) -> None:
        for place, name in self._requests:
            value = row[name]
            vector.values[place] = value
            vector.statuses[place] = PRESENT if value is not None else NULL
        for place, derive in self._later:
            value = derive(vector.values)
            vector.values[place] = value
            vector.statuses[place] = PRESENT if value is not None else NULL


def _fields(model: Model, schemas: Mapping[str, Schema]) -> dict[str, Type]:
    """What a request must hold: the entity keys of all views, then the request values."""
    out: dict[str, Type] = {}
    for view, _ in chosen(model.features).values():
        for key in view.entity.key:
            out[key] = schemas[rows_of(view.source).name][key]
    out.update({r.name: r.type for r in model.features if isinstance(r, Request)})
    return out


def _fits(value: object, kind: Type) -> bool:
    if isinstance(value, bool):
        return kind is Type.BOOL
    if kind is Type.FLOAT64:
        return isinstance(value, int | float)
    if kind in (Type.INT64, Type.TIMESTAMP):
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return kind is Type.STRING and isinstance(value, str)


def _apply(function: Callable[..., Any], places: list[int]) -> Callable[[list[Any]], Any]:
    return lambda values: function(*[values[p] for p in places])


def _call(item: Udf, places: list[tuple[int, Type]]) -> Callable[[list[Any]], Any]:
    def call(values: list[Any]) -> Any:
        columns = [pa.chunked_array([pa.array([values[p]], _ARROW[kind])]) for p, kind in places]
        return call_udf(item, columns)[0].as_py()

    return call
