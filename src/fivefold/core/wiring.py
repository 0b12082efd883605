"""Wrong wiring is found before any work starts: one small rule a mistake, all mistakes reported together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fivefold.core import feature_names
from fivefold.core.errors import FivefoldError, Invalid, NotFound, Several
from fivefold.core.expressions import parse
from fivefold.core.fallback import fallback_errors
from fivefold.core.features import FeatureView, Request, chosen
from fivefold.core.learning import GroupSplit, Model, Target
from fivefold.core.lineage import Column, column_lineage
from fivefold.core.noun import Noun
from fivefold.core.project import Project
from fivefold.core.sites import federations
from fivefold.core.sources import Source, Stream, Table, View, rows_of
from fivefold.core.steps import Member, wire
from fivefold.core.types import Schema, Type
from fivefold.core.uses import BatchJob, Endpoint

Schemas = Mapping[str, Schema]
Rule = Callable[[Project, Schemas], Iterator[FivefoldError]]


def check(project: Project, schemas: Schemas) -> None:
    """Raise Several with every wiring error of a project; `schemas` gives the columns of each source, by name.

    A source that is missing from `schemas` could not be read: what stands on it is not checked.
    """
    errors = [error for rule in RULES for error in rule(project, schemas)]
    if errors:
        raise Several({str(e): e for e in errors}.values())


def source_columns(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """`time`, `id` and `seq` are columns of their source, and time is a timestamp."""
    for source in _sources(project):
        schema = schemas.get(source.name)
        if schema is None:
            continue
        for role in ("time", "id", "seq"):
            column = getattr(source, role)
            if column is not None and column not in schema:
                yield _unknown(column, source, schema, f"{role}=")
        if source.time and schema.get(source.time, Type.TIMESTAMP) is not Type.TIMESTAMP:
            yield Invalid(
                f"{source.ref}: time={source.time!r} is {schema[source.time]}, not a timestamp.",
                hint=f"Cast it in a view: cast({source.time} as timestamp).",
            )


def checks(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """Checks name columns that exist and are conditions."""
    for source in _sources(project):
        schema = schemas.get(source.name)
        if schema is None:
            continue
        for item in source.checks:
            where = f"{source.ref}, check {item.name!r}"
            for column in item.columns:
                if column not in schema:
                    yield _unknown(column, source, schema, f"check {item.name!r}")
            if item.rule == "fresh" and source.time is None:
                yield Invalid(f"{where}: freshness needs the source's event time.", hint="Declare time= on it.")
            if item.rule == "row" and item.expression and all(c in schema for c in item.columns):
                try:
                    kind = parse(item.expression, schema, where).type
                    if kind is not Type.BOOL:
                        yield Invalid(f"{where} is {kind}, not a condition.", hint="Compare it with something.")
                except FivefoldError as e:
                    yield e


def stream_history(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """A stream's history has the stream's columns, with the same types."""
    for stream in project.of(Stream.kind):
        assert isinstance(stream, Stream)
        if stream.history is None or stream.history.name not in schemas:
            continue
        have = schemas[stream.history.name]
        for column, kind in stream.schema.items():
            if column not in have:
                yield _unknown(column, stream.history, have, f"history of {stream.ref}")
            elif have[column] is not kind:
                yield Invalid(
                    f"{stream.ref}: column {column!r} is {kind}, but {have[column]} in its history "
                    f"{stream.history.ref}.",
                    hint="Give both the same type.",
                )
        if stream.history.time != stream.time:
            yield Invalid(
                f"{stream.ref} has time={stream.time!r}, its history {stream.history.ref} has "
                f"time={stream.history.time!r}.",
                hint="Both must name the same event time.",
            )


def feature_views(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """Keys and aggregated columns exist, sums are of numbers, and there is an event time to cut windows by."""
    for view in project.of(FeatureView.kind):
        assert isinstance(view, FeatureView)
        try:
            rows = rows_of(view.source)
        except FivefoldError as e:
            yield e
            continue
        schema = schemas.get(rows.name)
        if schema is None:
            continue
        if rows.time is None:
            yield Invalid(
                f"{view.ref}: {rows.ref} has no event time, so no window can be cut.",
                hint=f"Declare time= on {rows.ref}.",
            )
        for key in view.entity.key:
            if key not in schema:
                yield _unknown(key, rows, schema, f"{view.ref}, key of {view.entity.ref}")
        for item in view.features:
            if item.column is None:
                if item.fn != "count":
                    yield Invalid(f"{view.ref}: {item.fn} needs a column.", hint=f"Write ff.{item.fn}('column').")
            elif item.column not in schema:
                yield _unknown(item.column, rows, schema, f"{view.ref}.{item.name}")
            elif item.numbers_only and schema[item.column] not in (Type.INT64, Type.FLOAT64, Type.BOOL):
                yield Invalid(
                    f"{view.ref}.{item.name}: {item.fn} of {item.column!r}, which is {schema[item.column]}.",
                    hint="Aggregate a number, or use count, distinct, top, first or last.",
                )


def models(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """A model's spine has the moment, the keys and the request values that its features ask for."""
    for model in _models(project):
        target, rows, schema = _spine(model, schemas)
        if schema is None:
            continue
        if rows.time is None:
            yield Invalid(
                f"{model.ref}: its target's source {rows.ref} has no event time, so features have no moment.",
                hint=f"Declare time= on {rows.ref}.",
            )
        try:
            parse(target.label, schema, f"{model.ref}, label")
        except FivefoldError as e:
            yield e
        for role, column in (("known", target.known), ("group", target.group)):
            if column is not None and column not in schema:
                yield _unknown(column, rows, schema, f"{model.ref}, {role}=")
        if target.known and schema.get(target.known, Type.TIMESTAMP) is not Type.TIMESTAMP:
            yield Invalid(f"{model.ref}: known={target.known!r} is {schema[target.known]}, not a timestamp.")
        for view, _ in chosen(model.features).values():
            for key in view.entity.key:
                if key not in schema:
                    yield _unknown(key, rows, schema, f"{model.ref}, key of {view.entity.ref} for {view.ref}")
        for item in model.features:
            if isinstance(item, Request):
                if item.name not in schema:
                    yield _unknown(item.name, rows, schema, f"{model.ref}, {item.ref}")
                elif not _fits(schema[item.name], item.type):
                    yield Invalid(
                        f"{model.ref}: {item.ref} is {item.type}, but {rows.ref} has {item.name!r} as "
                        f"{schema[item.name]}.",
                        hint="Give both the same type.",
                    )
        yield from feature_names.errors_of(model, schemas)
        if isinstance(model.split, GroupSplit) and model.split.by not in schema:
            yield _unknown(model.split.by, rows, schema, f"{model.ref}, split by=")
        for gate in model.gates:
            if gate.segment is not None and gate.segment not in schema:
                yield _unknown(gate.segment, rows, schema, f"{model.ref}, gate segment=")


def leaks(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """No feature is made of what the label is made of, unless it counts only once the label is known."""
    ancestry = _Ancestry(project, schemas)
    for model in _models(project):
        target, rows, schema = _spine(model, schemas)
        if schema is None:
            continue
        try:
            label = parse(target.label, schema, "label")
        except FivefoldError:
            continue
        secret = {c for column in label.columns for c in ancestry.of(rows.name, column)}
        if target.known:
            secret |= ancestry.of(rows.name, target.known)
        harmless = {c for column in (rows.time, rows.id) if column for c in ancestry.of(rows.name, column)}
        for key in {k for view, _ in chosen(model.features).values() for k in view.entity.key if k in schema}:
            harmless |= ancestry.of(rows.name, key)
        secret -= harmless
        for item in model.features:
            if isinstance(item, Request) and item.name in schema:
                shared = ancestry.of(rows.name, item.name) & secret
                if shared:
                    yield Invalid(
                        f"{model.ref}: {item.ref} leaks the label: both are made of {_listed(shared)}, known "
                        f"only at {target.known or 'the outcome'}.",
                        hint="Take it out of the features.",
                    )
        known = ancestry.of(rows.name, target.known) if target.known else set()
        for name, (view, aggregate) in chosen(model.features).items():
            source = rows_of(view.source)
            if aggregate.column is None or source.time is None or source.name not in schemas:
                continue
            shared = ancestry.of(source.name, aggregate.column) & secret
            safe = bool(known) and ancestry.of(source.name, source.time) >= known
            if shared and not safe:
                when = f"known only at {target.known!r}" if target.known else "known only with the label"
                yield Invalid(
                    f"{model.ref}: feature {name!r} could see the future: it is made of {_listed(shared)}, "
                    f"{when}, but its rows count from {source.time!r} of {source.ref} on.",
                    hint=f"Give it a source whose time is {target.known!r}."
                    if target.known
                    else "Declare known= on the target: the column that says when its label is known.",
                )


def batch_jobs(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """What a job scores has the moment, the keys and the request values of its model."""
    for job in project.of(BatchJob.kind):
        assert isinstance(job, BatchJob)
        schema = schemas.get(job.over.name)
        if schema is None:
            continue
        if job.over.time is None:
            yield Invalid(
                f"{job.ref}: {job.over.ref} has no event time, so features have no moment.",
                hint=f"Declare time= on {job.over.ref}.",
            )
        needed = [k for view, _ in chosen(job.model.features).values() for k in view.entity.key]
        needed += [r.name for r in job.model.features if isinstance(r, Request)]
        for column in dict.fromkeys([*needed, *([job.over.id] if job.over.id else [])]):
            if column not in schema:
                yield _unknown(column, job.over, schema, f"{job.ref}, scored by {job.model.ref}")


def endpoints(project: Project, schemas: Schemas) -> Iterator[FivefoldError]:
    """Each step of an endpoint stands after what it takes, and takes what there is, of its type; so do fallbacks."""
    for endpoint in project.of(Endpoint.kind):
        assert isinstance(endpoint, Endpoint)
        if endpoint.fallback is not None:
            try:
                yield from fallback_errors(endpoint, schemas)
            except (FivefoldError, KeyError):
                continue  # the model is wired wrongly, which another rule tells
        if not endpoint.steps:
            continue
        try:
            members = {m.name: _member(m, schemas) for m in endpoint.models}
        except (FivefoldError, KeyError):
            continue  # of a model that is wired wrongly, or whose source is not there, another rule tells
        try:
            wire(endpoint.ref, endpoint.steps, members)
        except FivefoldError as e:
            yield e


RULES: tuple[Rule, ...] = (
    source_columns,
    checks,
    stream_history,
    feature_views,
    models,
    leaks,
    batch_jobs,
    endpoints,
    federations,
)


def _member(model: Model, schemas: Schemas) -> Member:
    label = parse(model.target.label, schemas[rows_of(model.target.source).name], "label")
    return Member(feature_names.request_fields(model, schemas), label.type is Type.STRING)


class _Ancestry:
    """The base columns, over all views, that a column is made of; itself and the views' columns between included."""

    def __init__(self, project: Project, schemas: Schemas) -> None:
        self._views = {v.name: v for v in project.of(View.kind) if isinstance(v, View)}
        self._schemas = schemas
        self._lineage: dict[str, Mapping[str, frozenset[Column]]] = {}

    def of(self, source: str, column: str) -> set[Column]:
        """Base columns of a table's or view's column."""
        view = self._views.get(source)
        if view is None:
            return {Column(source, column)}
        if source not in self._lineage:
            self._lineage[source] = column_lineage(view.sql, self._schemas, view.ref)
        return {base for c in self._lineage[source].get(column, ()) for base in self.of(*c)}


def _spine(model: Model, schemas: Schemas) -> tuple[Target, Table | View, Schema | None]:
    rows = rows_of(model.target.source)
    return model.target, rows, schemas.get(rows.name)


def _models(project: Project) -> list[Model]:
    return [m for m in project.of(Model.kind) if isinstance(m, Model)]


def _sources(project: Project) -> list[Source]:
    return [s for s in project.of(Table.kind, View.kind, Stream.kind) if isinstance(s, Table | View | Stream)]


def _fits(have: Type, wanted: Type) -> bool:
    return have is wanted or (have is Type.INT64 and wanted is Type.FLOAT64)


def _unknown(column: str, source: Noun, schema: Schema, where: str) -> NotFound:
    return NotFound.named(f"column of {source.ref} for {where}:", column, schema)


def _listed(columns: set[Column]) -> str:
    return ", ".join(sorted(f"{c.source}.{c.column}" for c in columns))
