"""How `mlflow.pyfunc.load_model` opens a package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.models.package import LoadedModel, load


class PyFunc:
    """A package behind MLflow's one method."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, data: Any, params: Any = None) -> np.ndarray:
        """Predictions for a pandas DataFrame, or a dict of columns, with the model's features.

        Raises Invalid for a column of another type.
        """
        columns = {f.name: _column(f.name, f.type, list(data[f.name])) for f in self._model.about.features}
        return self._model.predict(pa.table(columns))


def _column(name: str, kind: str, values: list[Any]) -> pa.Array:
    try:
        found = pa.array(values, from_pandas=True)
        # pandas makes floats of integers with nulls; from 1.5 there is no way back
        return found.cast(pa.int64()) if kind == "int64" and pa.types.is_floating(found.type) else found
    except pa.ArrowException as e:
        raise Invalid(f"the feature {name!r} does not hold {kind} values: {str(e).splitlines()[0]}.") from None


def _load_pyfunc(path: str) -> PyFunc:
    return PyFunc(load(Path(path)))
