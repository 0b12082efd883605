"""What stands for looked-up features while the online store does not answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.feature_names import FeatureList, aliases, feature_types
from fivefold.core.features import chosen
from fivefold.core.types import Schema, Type
from fivefold.core.uses import Endpoint
from fivefold.core.values import typed

Schemas = Mapping[str, Schema]


def standing(fallback: Mapping[str, Any], model: FeatureList, schemas: Schemas) -> dict[str, Any]:
    """A value for every looked-up feature of a model, by full name; null for one that `fallback` does not name.

    Raises Invalid for a value that is not of its feature's type.
    """
    known, types = _stored(model, schemas)
    given = {known[name]: value for name, value in fallback.items() if name in known}
    return {name: None if given.get(name) is None else _typed(name, given[name], kind) for name, kind in types.items()}


def fallback_errors(endpoint: Endpoint, schemas: Schemas) -> Iterator[FivefoldError]:
    """Names that no model of an endpoint looks up, and values of another type."""
    assert endpoint.fallback is not None
    names: dict[str, str] = {}
    for model in endpoint.models:
        names |= _stored(model, schemas)[0]
        try:
            standing(endpoint.fallback, model, schemas)
        except FivefoldError as e:
            yield Invalid(f"{endpoint.ref}: {e.message}", hint=e.hint)
    for name in endpoint.fallback:
        if name not in names:
            yield NotFound.named(f"looked-up feature for {endpoint.ref}, fallback=:", name, names)


def _stored(model: FeatureList, schemas: Schemas) -> tuple[dict[str, str], dict[str, Type]]:
    """The names by which looked-up features of a model can be called, and their types by full name."""
    types, stored = feature_types(model, schemas), chosen(model.features)
    names = {short: full for short, full in aliases(model, types).items() if full in stored}
    return names, {name: types[name] for name in stored}


def _typed(name: str, value: Any, kind: Type) -> Any:
    try:
        return typed(name, value, kind)
    except Invalid:
        raise Invalid(f"fallback={{{name!r}: {value!r}}} is of another type (accepted: {kind}, or None).") from None
