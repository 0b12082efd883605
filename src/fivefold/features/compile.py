"""From declared feature views to plans of the as-of join."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fivefold.core.errors import Invalid
from fivefold.core.features import Aggregate as Declared
from fivefold.core.features import Feature, FeatureView, chosen
from fivefold.core.sources import Stream, Table, View, id_stretch, rows_of
from fivefold.core.time import duration
from fivefold.core.types import Schema, Type
from fivefold.features.asof import Aggregate, Source

Relation = Callable[[str], str]
"""Gives the DuckDB relation with the rows of a source, by name."""

Scales = Mapping[str, Mapping[str, int]]
"""By source name and column, the fixed-point scale pinned when the source was applied."""


def sources(
    features: Iterable[Feature], schemas: Mapping[str, Schema], scales: Scales, relation: Relation
) -> list[Source]:
    """One plan a feature view, with only the chosen features, named `view.feature`."""
    by_view: dict[str, tuple[FeatureView, list[Aggregate]]] = {}
    for full, (view, item) in chosen(features).items():
        rows = rows_of(view.source)
        kind = schemas[rows.name][item.column] if item.column else Type.INT64
        scale = _scale(view, rows, item, kind, scales)
        over = item.over or view.ttl
        by_view.setdefault(view.name, (view, []))[1].append(
            Aggregate(
                name=full,
                fn=item.fn,
                column=item.column,
                type=kind,
                over=duration(over) if over else None,
                hop=duration(item.hop) if item.hop else None,
                ago=duration(item.ago) if item.ago else 0,
                q=item.q,
                k=item.k,
                scale=scale,
            )
        )
    return [_source(view, items, relation) for view, items in by_view.values()]


def delay_of(view: FeatureView) -> int:
    """Microseconds after its event time from which a row of the view counts as known."""
    declared = view.delay if view.delay is not None else view.source.delay
    return 0 if declared == "0s" else duration(declared)


def _source(view: FeatureView, items: list[Aggregate], relation: Relation) -> Source:
    rows = rows_of(view.source)
    live = view.source if isinstance(view.source, Stream) else rows
    assert live.time is not None
    return Source(
        name=view.name,
        relation=relation(rows.name),
        keys=view.entity.key,
        spine_keys=view.entity.key,
        time=live.time,
        seq=live.seq,
        id=live.id,
        # as the stream knows ids: for so long, and not for ever
        id_within=id_stretch(live) if isinstance(live, Stream) and live.id is not None else None,
        delay=delay_of(view),
        aggregates=tuple(items),
    )


def _scale(view: FeatureView, rows: Table | View, item: Declared, kind: Type, scales: Scales) -> int | None:
    if item.fn not in ("sum", "mean", "std"):
        return None
    if kind is not Type.FLOAT64:
        return 0
    assert item.column is not None
    found = scales.get(rows.name, {}).get(item.column)
    if found is None:
        raise Invalid(
            f"{view.ref}.{item.name}: no scale is pinned for {rows.name}.{item.column}.",
            hint="Run `fivefold apply`, which chooses one from the data.",
        )
    return found
