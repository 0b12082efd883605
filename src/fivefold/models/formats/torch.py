"""Torch modules as data: weights as safetensors, and the steps that `torch.export` finds as JSON.

PyTorch's own archive (`program.pt2`) is not used: `torch.export.load` evaluates expressions of the file with sympy, so
a planted one runs code. Here a step can only be an operator of the Core ATen set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.models.fitted import Predict
from fivefold.models.formats.torch_program import Program, exported, runner


def save(model: Any, folder: Path, task: str) -> None:
    """Write `weights.safetensors` and `program.json`, for any number of rows.

    Raises Invalid for a module that torch cannot export, or whose steps are not all in the Core ATen set.
    """
    from safetensors.torch import save_file

    module, features = model
    program, tensors = exported(module, features)
    save_file({name: t.detach().clone().contiguous() for name, t in tensors.items()}, folder / "weights.safetensors")
    (folder / "program.json").write_bytes(msgspec.json.format(msgspec.json.encode(program), indent=1))


def load(folder: Path, task: str) -> Predict:
    """Read the steps and their weights."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise missing_extra("torch", "torch", "this model") from None
    program = msgspec.json.decode((folder / "program.json").read_bytes(), type=Program)
    tensors = load_file(folder / "weights.safetensors")
    missing = sorted(set(program.weights.values()) - set(tensors))
    if missing:
        raise Invalid(f"{folder / 'weights.safetensors'} has no weights {missing[0]!r}.")
    return predictor(runner(program, tensors), task)


def predictor(module: Any, task: str) -> Predict:
    """A module's outputs as probabilities or numbers."""
    import torch

    def predict(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            narrow = torch.from_numpy(x.astype(np.float32))
        with torch.inference_mode():
            out = module(narrow)
            if task == "binary":
                out = torch.sigmoid(out.reshape(len(x)))
            elif task == "multiclass":
                out = torch.softmax(out, dim=1)
            else:
                out = out.reshape(len(x))
        return np.asarray(out.numpy(), dtype=np.float64)

    return predict
