"""Pickles, which run code when loaded: only for models that are explicitly trusted, and in a process of their own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from fivefold.core.errors import Invalid
from fivefold.models.fitted import Predict
from fivefold.models.formats.pickle_worker import Worker

PATIENCE = 60.0
"""Seconds a worker may take to load, or to answer."""


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.pkl`. Raises Invalid for what cannot be pickled by reference to its module."""
    try:
        (folder / "model.pkl").write_bytes(pickle.dumps(model, protocol=5))
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        raise Invalid(
            f"a {type(model).__name__} cannot be pickled: {e}.", hint="Define its class in an importable module."
        ) from None


def load(folder: Path, task: str, *, patience: float = PATIENCE) -> Predict:
    """Start a worker that unpickles the model and answers over a pipe; this process never unpickles anything.

    Predicting raises Invalid for an error of the model, Unavailable when the worker ends or is silent for `patience`
    seconds; the next call then starts a new one.
    """
    return Worker(folder / "model.pkl", patience).predict
