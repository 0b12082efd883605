"""Torch modules as data: the exported program (torch.export) and the weights as safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.models.fitted import Predict


def save(model: Any, folder: Path, task: str) -> None:
    """Write `weights.safetensors`, and `program.pt2` for any number of rows."""
    import torch
    from safetensors.torch import save_file

    module, features = model
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, folder / "weights.safetensors")
    rows = torch.export.Dim("rows", min=1, max=1 << 24)
    with torch.no_grad():
        program = torch.export.export(module, (torch.zeros(2, features),), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / "program.pt2")


def load(folder: Path, task: str) -> Predict:
    """Read the program, and give it the weights of the safetensors file.

    torch.export.load reads tensors with `weights_only`, so nothing is unpickled. Raises Invalid for what is damaged.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise missing_extra("torch", "torch", "this model") from None
    try:
        module = torch.export.load(folder / "program.pt2").module()
        module.load_state_dict(load_file(folder / "weights.safetensors"))
    except (RuntimeError, SafetensorError, ValueError, KeyError) as e:
        raise Invalid(f"{folder} holds no torch program: {str(e).splitlines()[0]}.") from None
    return predictor(module, task)


def predictor(module: Any, task: str) -> Predict:
    """A module's outputs as probabilities or numbers."""
    import torch

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            out = module(torch.from_numpy(x.astype(np.float32)))
            if task == "binary":
                out = torch.sigmoid(out.reshape(len(x)))
            elif task == "multiclass":
                out = torch.softmax(out, dim=1)
            else:
                out = out.reshape(len(x))
        return np.asarray(out.numpy(), dtype=np.float64)

    return predict
