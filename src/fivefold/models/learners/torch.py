"""Torch modules, trained on shuffled batches streamed from Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats import first_line
from fivefold.models.formats.torch import predictor
from fivefold.models.learners.parameters import number, require_known, whole

DEFAULTS: dict[str, float] = {"epochs": 5, "batch_size": 1024, "lr": 1e-3, "weight_decay": 0.0}
FARTHEST = 1e6
"""Standard deviations beyond which a value counts as this far: the module then gives numbers."""
LARGEST = 1e18
"""What is squared must fit into a float32."""


def fit(data: Data, learner: Learner) -> Fitted:
    """Train the module that `learner.object(features)` makes (`features` counts inputs, flags of nulls included).

    The module gives a logit for a binary task, a number for regression, or one logit a class. Inputs are standardised
    by what is stored with it. Parameters: `epochs`, `batch_size`, `lr`, `weight_decay`. Raises Invalid for others.
    """
    try:
        import torch
    except ImportError:
        raise missing_extra("torch", "torch", "the learner torch") from None
    require_known("torch", learner.params, DEFAULTS)
    given = learner.params
    params = {
        **{name: whole("torch", given, name, int(DEFAULTS[name])) for name in ("epochs", "batch_size")},
        **{name: number("torch", given, name, DEFAULTS[name], 0.0) for name in ("lr", "weight_decay")},
    }
    if data.task == "ranking":
        raise Invalid("the learner torch does not rank.", hint="Use lightgbm or xgboost.")
    if too_large := [n for n, v in zip(data.names, np.fmax.reduce(np.abs(data.x)), strict=True) if v > LARGEST]:
        raise Invalid(
            f"torch refused to train: values of {', '.join(too_large[:6])} are too large, beyond {LARGEST:g}.",
            hint="Derive a bound or a logarithm from them.",
        )
    before = torch.get_num_threads()
    torch.set_num_threads(data.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(data.seed)
            module = standardised(*_moments(data.x), learner.object(2 * data.x.shape[1]))
            _train(module, data, params)
    except RuntimeError as e:
        raise Invalid(
            f"torch refused to train: {first_line(e)}.",
            hint=f"The module is given {2 * data.x.shape[1]} inputs a row: numbers, then a flag of null for each.",
        ) from None
    finally:
        torch.set_num_threads(before)
    module.eval()
    return Fitted("torch", (module, data.x.shape[1]), predictor(module, data.task), params)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    there = ~np.isnan(x)
    counts = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, x, 0.0).sum(axis=0) / counts
    return mean, np.sqrt(np.where(there, (x - mean) ** 2, 0.0).sum(axis=0) / counts)


def standardised(mean: np.ndarray, spread: np.ndarray, inner: Any) -> Any:
    """The user's module behind standardisation: numbers with nulls as the mean, and a flag for each null."""
    import torch

    class Standardised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
            self.register_buffer("scale", torch.tensor(np.where(spread > 0, spread, 1.0), dtype=torch.float32))
            self.inner = inner

        def forward(self, x: Any) -> Any:
            null = torch.isnan(x)
            z = torch.clamp((x - self.mean) / self.scale, -FARTHEST, FARTHEST)
            z = torch.where(null, torch.zeros_like(x), z)
            return self.inner(torch.cat([z, null.to(x.dtype)], dim=1))

    return Standardised()


def loss_function(task: str) -> Any:
    """The mean loss of a task, of what a module gave and float32 labels `(b,)`."""
    import torch

    return {
        "binary": lambda out, y: torch.nn.functional.binary_cross_entropy_with_logits(out.reshape(len(y)), y),
        "multiclass": lambda out, y: torch.nn.functional.cross_entropy(out, y.long()),
        "regression": lambda out, y: torch.nn.functional.mse_loss(out.reshape(len(y)), y),
    }[task]


def _train(module: Any, data: Data, params: dict[str, Any]) -> None:
    import torch

    optimiser: Any = torch.optim.AdamW(module.parameters(), lr=params["lr"], weight_decay=params["weight_decay"])
    loss_of = loss_function(data.task)
    random = np.random.default_rng(data.seed)
    module.train()
    for _ in range(int(params["epochs"])):
        for x, y in batches(data, int(params["batch_size"]), random):
            optimiser.zero_grad()
            loss: Any = loss_of(module(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            optimiser.step()


def batches(data: Data, size: int, random: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch: Arrow record batches in random order, rows shuffled; gives float32 `(b, features)` and `(b,)`."""
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(data.x.ravel()), data.x.shape[1]), "y": data.y})
    pieces = table.to_batches(max_chunksize=max(size, 65_536))
    for i in random.permutation(len(pieces)):
        x = pieces[i].column("x").flatten().to_numpy(zero_copy_only=False).reshape(-1, data.x.shape[1])
        y = pieces[i].column("y").to_numpy()
        order = random.permutation(len(y))
        for start in range(0, len(y), size):
            rows = order[start : start + size]
            yield x[rows].astype(np.float32), y[rows].astype(np.float32)
