"""What an endpoint with steps answered, as what each of its models said: of a plain prediction, that one alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from fivefold.workspace.predictions import Prediction

_T = TypeVar("_T")


def parts_of(found: Prediction) -> dict[str, Prediction]:
    """The predictions of the models, by what stands before the names of their features: `MODEL.`, or nothing."""
    if found.steps is None:
        return {"": found}
    made = {name: value for name, (value, _, _) in found.features.items() if "." not in name}
    return {
        f"{model}.": msgspec.structs.replace(
            found,
            model=model,
            version=version,
            row={**found.row, **made},
            features=_of(model, found.features),
            seen=_of(model, found.seen),
            prediction=made.get(model),
            steps=None,
        )
        for model, version in found.steps.versions.items()
    }


def _of(model: str, named: Mapping[str, _T]) -> dict[str, Any]:
    return {name.removeprefix(f"{model}."): value for name, value in named.items() if name.startswith(f"{model}.")}
