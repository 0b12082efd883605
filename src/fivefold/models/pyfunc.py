"""How `mlflow.pyfunc.load_model` opens a package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.models.mlmodel import KINDS
from fivefold.models.package import LoadedModel, load

_ARROW = {"long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_(), "string": pa.string()}


class PyFunc:
    """A package behind MLflow's one method."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model

    def predict(self, data: Any, params: Any = None) -> np.ndarray:
        """Predictions for a pandas DataFrame, or a dict of columns, with the model's features."""
        columns = {
            f.name: pa.array(list(data[f.name]), _ARROW[KINDS[f.type]], from_pandas=True)
            for f in self._model.about.features
        }
        return self._model.predict(pa.table(columns))


def _load_pyfunc(path: str) -> PyFunc:
    return PyFunc(load(Path(path)))
