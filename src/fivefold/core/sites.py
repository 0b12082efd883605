"""What a site of a federation can compute: from its own rows alone, and from sources that all sites know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.feature_names import aliases
from fivefold.core.features import FeatureView, Request, chosen
from fivefold.core.federation import Federation
from fivefold.core.lineage import column_lineage, row_wise, tables_used
from fivefold.core.project import Project
from fivefold.core.sources import Table, View, rows_of
from fivefold.core.types import Schema, Type

Schemas = Mapping[str, Schema]


def federations(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """Every feature of a federation's model is of the site's own rows, or of sources that are public."""
    for federation in project.of(Federation.kind):
        assert isinstance(federation, Federation)
        reach = _Reach(project, schemas, federation)
        model, split = federation.model, federation.split
        rows = rows_of(model.target.source)
        if rows.name in schemas and split not in schemas[rows.name]:
            yield NotFound.named(f"column of {rows.ref} for {federation.ref}, split=:", split, schemas[rows.name])
            continue
        if why := reach.why_not_own(rows):
            yield Invalid(
                f"{federation.ref}: a site cannot make the rows of {rows.ref} alone: {why}.",
                hint="Train on a source that a site derives row by row from rows of its own.",
            )
        for view in dict.fromkeys(view for view, _ in chosen(model.features).values()):
            yield from _feature_view(federation, view, reach)
        yield from _levels(federation, schemas)


def _feature_view(federation: Federation, view: FeatureView, reach: _Reach) -> Iterator[FivefoldError]:
    try:
        source = rows_of(view.source)
    except FivefoldError:
        return  # the rule of feature views says it
    split = federation.split
    if reach.public(source):
        return
    if why := reach.why_not_own(source):
        yield Invalid(
            f"{federation.ref}: a site cannot compute {view.ref} alone: {why}.",
            hint=f"Derive {source.ref} row by row from rows that carry {split!r}, or name in public= what every site "
            "knows.",
        )
    elif split not in view.entity.key:
        yield Invalid(
            f"{federation.ref}: {view.ref} is of the rows of all sites, since its {view.entity.ref} is keyed by "
            f"{', '.join(view.entity.key)} only, and a site has its own rows alone.",
            hint=f"Key it by {split!r} too, so that it means the site's own history wherever it is computed, or name "
            f"{source.ref} in public= if every site may know all of its rows.",
        )


def _levels(federation: Federation, schemas: Schemas) -> Iterator[FivefoldError]:
    """A text feature has levels that everyone knows: to collect its values would tell which site has which."""
    types: dict[str, Type] = {}
    for name, (view, aggregate) in chosen(federation.model.features).items():
        try:
            schema = schemas.get(rows_of(view.source).name, {})
        except FivefoldError:
            continue
        column = schema.get(aggregate.column) if aggregate.column else None
        if aggregate.column is None or column is not None:
            types[name] = aggregate.result(column)
    types |= {item.name: item.type for item in federation.model.features if isinstance(item, Request)}
    for name, kind in types.items():
        if kind is Type.STRING and name not in federation.levels:
            yield Invalid(
                f"{federation.ref}: the feature {name!r} is a text, and the sites' values of it are not public.",
                hint=f"Give its values, levels={{{name!r}: [...]}}, or leave it out of the model.",
            )
    for name in federation.levels:
        if name not in types and name not in aliases(federation.model, types):
            yield NotFound.named(f"feature of {federation.model.ref} for {federation.ref}, levels=:", name, types)
        elif types.get(name, Type.STRING) is not Type.STRING:
            yield Invalid(f"{federation.ref}: levels of {name!r}, which is {types[name]} and not a text.")


class _Reach:
    """Which sources are public, and which a site has its own part of, judged by the tables they are derived from."""

    def __init__(self, project: Project, schemas: Schemas, federation: Federation) -> None:
        sources = [n for n in project.of(Table.kind, View.kind) if isinstance(n, Table | View)]
        self._sources = {n.name: n for n in sources}
        self._schemas = schemas
        self._split = federation.split
        self._public = {n.name for n in federation.public}

    def public(self, source: Table | View) -> bool:
        """Named as public, or derived from such alone."""
        if source.name in self._public:
            return True
        if not isinstance(source, View):
            return False
        used = tables_used(source.sql, source.ref)
        return bool(used) and all(name in self._sources and self.public(self._sources[name]) for name in used)

    def why_not_own(self, source: Table | View) -> str | None:
        """Why a site's part of a source is not what its own rows give; None when it is."""
        if isinstance(source, Table):
            if source.name in self._schemas and self._split not in self._schemas[source.name]:
                return f"{source.ref} has no column {self._split!r} and is not public"
            return None
        main = row_wise(source.sql, source.ref)
        if main is None:
            return f"{source.ref} groups, orders or combines rows, which may be of several sites"
        for name in tables_used(source.sql, source.ref):
            other = self._sources.get(name)
            if other is None:
                continue
            if name == main:
                if why := self.why_not_own(other):
                    return why
            elif not self.public(other):
                return f"{source.ref} joins {other.ref}, which is not public"
        made = column_lineage(source.sql, self._schemas, source.ref).get(self._split, frozenset())
        if {tuple(c) for c in made} != {(main, self._split)}:
            return f"its column {self._split!r} is not that of {main}"
        return None
