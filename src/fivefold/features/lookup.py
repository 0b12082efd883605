"""A model's features for a request: stored values in one read, then what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from fivefold.core.errors import FivefoldError
from fivefold.core.feature_names import FeatureList, derived_expression, feature_types, request_fields, resolve
from fivefold.core.features import Derived, FeatureView, Request, Udf, chosen
from fivefold.core.types import Schema, Type
from fivefold.features.compile import Scales
from fivefold.features.entity_keys import row_key
from fivefold.features.fields import accepted
from fivefold.features.frame import call_udf
from fivefold.features.materialise import key_types, state_view, view_plan
from fivefold.features.recent import FeatureCache, RecentFeatures
from fivefold.features.state.mark import read_mark
from fivefold.features.state.newest import ABSENT, EXPIRED, NULL, PRESENT
from fivefold.features.state.value import Values
from fivefold.features.stored import Seen, StoredFeatures, StoredView
from fivefold.ports.online import MARK, OnlineStore

_ARROW = {
    Type.INT64: pa.int64(),
    Type.FLOAT64: pa.float64(),
    Type.BOOL: pa.bool_(),
    Type.STRING: pa.string(),
    Type.TIMESTAMP: pa.int64(),
}

FALLBACK = "fallback"
"""The store did not answer: a declared value stands here."""

__all__ = ["ABSENT", "EXPIRED", "FALLBACK", "NULL", "PRESENT", "Lookup", "Seen", "Vector"]


class Vector(NamedTuple):
    """The features of one row, in the model's order: values, event times (microseconds) and statuses.

    A request value or a derived one has no event time. `seen` says, by view, what the values were made of; a view that
    is not in it was never materialised.
    """

    values: list[Any]
    times: list[int | None]
    statuses: list[str]
    seen: dict[str, Seen]


class Lookup:
    """The plan of look-ups of one list of features, a model's for instance, made once.

    `online_name` gives the name of a view in the store; `recent` keeps what was read for a while. A row is a mapping of
    entity keys and request values.
    """

    def __init__(
        self,
        model: FeatureList,
        schemas: Mapping[str, Schema],
        scales: Scales,
        online_name: Callable[[FeatureView], str],
        recent: FeatureCache | None = None,
    ) -> None:
        types = dict(feature_types(model, schemas))
        self.names = list(types)
        self._place = {n: i for i, n in enumerate(self.names)}
        self.fields = request_fields(model, schemas)
        # of an entity that no row was ever seen of, a count is zero and everything else null, as in history
        self.types = types
        self._counts = {n for n, (_, a) in chosen(model.features).items() if a.fn in ("count", "distinct")}
        order: list[str] = []
        self._stored = StoredFeatures(self._plan_views(model, schemas, scales, online_name, order))
        self._recent = None if recent is None or not self._stored.views else RecentFeatures(self._stored, recent)
        self._requests = [(self._place[r.name], r.name) for r in model.features if isinstance(r, Request)]
        self._later = self._plan_derived(model, types)
        # parts of views stand one after the other, then what is made of them, until they are put in the model's order
        order += [n for n in self.names if n not in set(order)]
        self._rest = len(order) - len(chosen(model.features))
        self._arrange = [order.index(n) for n in self.names] if order != self.names else None

    @property
    def views(self) -> list[str]:
        """Names of the feature views that are read."""
        return [v.label for v in self._stored.views]

    def materialised(self, store: OnlineStore) -> dict[str, int | None]:
        """By feature view, the moment (microseconds UTC) from which its values answer; None for one that holds none."""
        marks = store.get([(v.name, MARK) for v in self._stored.views])
        return {
            v.label: None if raw is None else read_mark(raw).since
            for v, raw in zip(self._stored.views, marks, strict=True)
        }

    def _plan_views(
        self,
        model: FeatureList,
        schemas: Mapping[str, Schema],
        scales: Scales,
        online_name: Callable[[FeatureView], str],
        order: list[str],
    ) -> list[StoredView]:
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
            names = [plan.aggregates[n].name for n in numbers]
            order += names
            expires = [n in bounded for n in names]
            values = Values(kept, numbers, expires)
            plans.append(
                StoredView(
                    online_name(view),
                    view.name,
                    row_key(view.entity.key, key_types(view, schemas)),
                    values,
                    expires,
                    ([0 if n in self._counts else None for n in names], [None] * len(names), [ABSENT] * len(names)),
                    values.quick,
                )
            )
        return plans

    def _plan_derived(
        self, model: FeatureList, types: Mapping[str, Type]
    ) -> list[tuple[int, Callable[[list[Any]], Any]]]:
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
        each: Sequence[dict[str, Seen]] = ()
        if self._recent is None:
            parts, seen = self._stored.read(store, rows, at)
        else:
            parts, each = self._recent.read(store, rows, at)
            seen = each[0]
        made, rest, arrange = tuple.__new__, self._rest, self._arrange
        if len(parts) == 2 and not rest and arrange is None and not each:
            # nothing but two views, whose features stand as they are read
            return [
                made(Vector, ([*one[0], *two[0]], [*one[1], *two[1]], [*one[2], *two[2]], seen))
                for one, two in zip(*parts, strict=True)
            ]
        out: list[Vector | FivefoldError] = []
        nulls, absent = [None] * rest, [ABSENT] * rest
        for i, row in enumerate(rows):
            values: list[Any] = []
            times: list[int | None] = []
            statuses: list[str] = []
            for part in parts:
                some, their_times, their_statuses = part[i]
                values += some
                times += their_times
                statuses += their_statuses
            if rest:
                values += nulls
                times += nulls
                statuses += absent
            if arrange is not None:
                values = [values[p] for p in arrange]
                times = [times[p] for p in arrange]
                statuses = [statuses[p] for p in arrange]
            vector = made(Vector, (values, times, statuses, each[i] if each else seen))
            out.append(self._finish(vector, row) if rest else vector)
        return out

    def made_of(self, stored: Mapping[str, Any], row: Mapping[str, Any]) -> list[Any]:
        """The values of all features, in the model's order, for an accepted row whose stored ones are known.

        A stored one that is not among them is of a view that holds nothing. Raises what a Udf raises.
        """
        values = [stored.get(n, 0 if n in self._counts else None) for n in self.names]
        count = len(values)
        made = self._finish(Vector(values, [None] * count, [ABSENT] * count, {}), row)
        if isinstance(made, FivefoldError):
            raise made
        return made.values

    def standing_in(self, stored: Mapping[str, Any], row: Mapping[str, Any]) -> Vector | FivefoldError:
        """The features of an accepted row with these values for all stored ones; of a row whose Udf fails, why."""
        count = len(self.names)
        values = [stored.get(n) for n in self.names]
        statuses = [FALLBACK if n in stored else ABSENT for n in self.names]
        return self._finish(Vector(values, [None] * count, statuses, {}), row)

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


def _apply(function: Callable[..., Any], places: list[int]) -> Callable[[list[Any]], Any]:
    return lambda values: function(*[values[p] for p in places])


def _call(item: Udf, places: list[tuple[int, Type]]) -> Callable[[list[Any]], Any]:
    call = udf_of_row(item, [kind for _, kind in places])
    return lambda values: call([values[p] for p, _ in places])


def udf_of_row(item: Udf, kinds: Sequence[Type]) -> Callable[[Sequence[Any]], Any]:
    """A Udf as a function of one row's inputs, of these types; it raises Invalid when the Udf fails."""

    def call(values: Sequence[Any]) -> Any:
        columns = [pa.chunked_array([pa.array([v], _ARROW[kind])]) for v, kind in zip(values, kinds, strict=True)]
        out = call_udf(item, columns)
        return (out.cast(pa.int64()) if pa.types.is_timestamp(out.type) else out)[0].as_py()

    return call
