"""How a model's features are called, typed and resolved inside expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.expressions import Expression, parse
from fivefold.core.features import Derived, Feature, Request, Udf, chosen
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type


class FeatureList(Protocol):
    """Features in order, as a model has them, and what they are called in errors."""

    @property
    def ref(self) -> str: ...

    @property
    def features(self) -> Sequence[Feature]: ...


def feature_types(model: FeatureList, schemas: Mapping[str, Schema]) -> dict[str, Type]:
    """The model's features by full name, in order, with their types; `schemas` is by source name.

    Raises the first wiring error met; `wiring.check` reports all of them.
    """
    types: dict[str, Type] = {}
    for name, (view, aggregate) in chosen(model.features).items():
        schema = schemas[rows_of(view.source).name]
        column = schema[aggregate.column] if aggregate.column else None
        types[name] = aggregate.result(column)
    for item in model.features:
        if isinstance(item, Request | Derived | Udf) and item.name in types:
            raise Invalid(f"{model.ref}: two features are called {item.name!r}.", hint="Rename one of them.")
        if isinstance(item, Request | Udf):
            types[item.name] = item.type
        elif isinstance(item, Derived):
            types[item.name] = derived_expression(model, item, types)[0].type
    return types


def request_fields(model: FeatureList, schemas: Mapping[str, Schema]) -> dict[str, Type]:
    """What a request must hold for these features: the entity keys of all views, then the request values."""
    out: dict[str, Type] = {}
    for view, _ in chosen(model.features).values():
        for key in view.entity.key:
            out[key] = schemas[rows_of(view.source).name][key]
    out.update({r.name: r.type for r in model.features if isinstance(r, Request)})
    return out


def derived_expression(model: FeatureList, item: Derived, types: Schema) -> tuple[Expression, dict[str, str]]:
    """The parsed expression of a derived feature, and the full feature name behind each name it uses.

    `types` holds the features declared before it. Raises Invalid for an ambiguous name, NotFound for an unknown one.
    """
    known = aliases(model, types)
    expression = parse(item.expression, {short: types[full] for short, full in known.items()}, item.ref)
    return expression, {short: known[short] for short in expression.columns}


def resolve(name: str, model: FeatureList, types: Schema, where: str) -> str:
    """The full feature name that a short one means. Raises NotFound with the nearest."""
    known = aliases(model, types)
    if name not in known:
        raise NotFound.named(f"feature for {where}:", name, known)
    return known[name]


def aliases(model: FeatureList, types: Schema) -> dict[str, str]:
    """Every name by which a feature can be called without doubt, with its full name."""
    found: dict[str, set[str]] = {}
    for full in types:
        found.setdefault(full, set()).add(full)
    exact = set(found)
    for full, (_, aggregate) in chosen(model.features).items():
        if full in types:
            found.setdefault(aggregate.name, set()).add(full)
            if aggregate.fn == "last" and aggregate.column and aggregate.ago is None:
                found.setdefault(aggregate.column, set()).add(full)
    return {
        short: short if short in exact else next(iter(full))
        for short, full in found.items()
        if short in exact or len(full) == 1
    }


def errors_of(model: FeatureList, schemas: Mapping[str, Schema]) -> list[FivefoldError]:
    """Every mistake in a model's feature list, each found on its own."""
    errors: list[FivefoldError] = []
    types: dict[str, Type] = {}
    for name, (view, aggregate) in chosen(model.features).items():
        schema = schemas.get(rows_of(view.source).name, {})
        column = schema.get(aggregate.column) if aggregate.column else None
        if aggregate.column is None or column is not None:
            types[name] = aggregate.result(column)
    for item in model.features:
        try:
            if isinstance(item, Request | Derived | Udf) and item.name in types:
                raise Invalid(f"{model.ref}: two features are called {item.name!r}.", hint="Rename one of them.")
            if isinstance(item, Udf):
                for short in item.inputs:
                    resolve(short, model, types, item.ref)
            if isinstance(item, Request | Udf):
                types[item.name] = item.type
            elif isinstance(item, Derived):
                types[item.name] = derived_expression(model, item, types)[0].type
        except FivefoldError as e:
            errors.append(e)
    return errors
