"""Torch modules as functions of their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, Unsupported, missing_extra
from fivefold.core.learning import Learner
from fivefold.federated.contribution import Layout
from fivefold.federated.learners.dense import DenseRows, Layer
from fivefold.models.fitted import Fitted
from fivefold.models.formats import first_line
from fivefold.models.formats.linear import Columns
from fivefold.models.formats.torch import predictor
from fivefold.models.learners.parameters import number, require_known
from fivefold.models.learners.torch import FARTHEST, loss_function, standardised


class TorchRows:
    """Rows as float32 tensors. The module is shared by all rows of a model, which are used one after the other."""

    def __init__(self, model: TorchModel, x: np.ndarray, y: np.ndarray) -> None:
        import torch

        self.count = len(y)
        self._model = model
        self._x, self._y = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))

    def gradient(
        self, parameters: np.ndarray, batch: np.ndarray | None, with_loss: bool = True
    ) -> tuple[float, np.ndarray]:
        import torch

        x, y = self._rows(batch)
        module, weights = self._model.module, self._model.load(parameters)
        loss: Any = self._model.loss_of(module(x), y)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        out = torch.cat([g.reshape(-1) for g in gradients]).double().numpy()
        decay = self._model.decay
        return float(loss.detach()), out + decay * parameters if decay else out

    def row_gradients(self, parameters: np.ndarray, batch: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        import torch

        x, y = self._rows(batch)
        self._model.load(parameters)
        weights = {n: p.detach() for n, p in self._model.module.named_parameters()}

        def loss_of_row(weights: Any, row: Any, label: Any) -> Any:
            out = torch.func.functional_call(self._model.module, weights, (row[None],))
            loss = self._model.loss_of(out, label[None])
            return loss, loss

        each = torch.func.vmap(torch.func.grad(loss_of_row, has_aux=True), in_dims=(None, 0, 0))
        try:
            gradients, losses = each(weights, x, y)
        except RuntimeError as e:
            raise Unsupported(
                f"the module gives no gradients of single rows: {first_line(e)}.",
                hint="Layers that mix rows, such as BatchNorm, have none; use LayerNorm or GroupNorm.",
            ) from None
        flat = torch.cat([g.reshape(len(x), -1) for g in gradients.values()], dim=1)
        return losses.double().numpy(), flat.double().numpy()

    def _rows(self, batch: np.ndarray | None) -> tuple[Any, Any]:
        return (self._x, self._y) if batch is None else (self._x[batch], self._y[batch])


class TorchModel:
    """The module that `learner.object(2 * features)` makes, behind the standardisation that all sites share."""

    def __init__(self, learner: Learner, columns: Columns, task: str, decay: float) -> None:
        self._make, self._task, self.decay = learner.object, task, decay
        self._mean, self._scale = np.array(columns.means), np.array(columns.scales)
        self.loss_of = loss_function(task)
        self.module: Any = self._made(0)
        if [name for name, _ in self.module.inner.named_buffers()]:
            raise Unsupported(
                "the module keeps buffers (BatchNorm does), which are no parameters and would differ between sites.",
                hint="Use LayerNorm or GroupNorm.",
            )
        named = [(n.removeprefix("inner."), p) for n, p in self.module.named_parameters()]
        self.layout = Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))
        self._weights = [p for _, p in named]
        if not named:
            raise Invalid("the module has no parameters to train.")

    def start(self, seed: int) -> np.ndarray:
        made = self._made(seed)
        return np.concatenate([p.detach().double().numpy().ravel() for p in made.parameters()])

    def rows(self, x: np.ndarray, y: np.ndarray) -> TorchRows | DenseRows:
        layers = dense_layers(self.module.inner)
        if layers is None:
            return TorchRows(self, x, y)
        there = ~np.isnan(x)
        z = np.where(there, ((x - self._mean) / self._scale).clip(-FARTHEST, FARTHEST), 0.0)
        return DenseRows(layers, np.concatenate([z, ~there], axis=1), y, self._task, self.decay)

    def fitted(self, parameters: np.ndarray) -> Fitted:
        made = self._made(0)
        self._fill(list(made.parameters()), parameters)
        made.eval()
        return Fitted("torch", (made, len(self._mean)), predictor(made, self._task), {"weight_decay": self.decay})

    def load(self, parameters: np.ndarray) -> list[Any]:
        """The module's own tensors, filled with parameters `(k,)`."""
        self._fill(self._weights, parameters)
        return self._weights

    def _fill(self, weights: list[Any], parameters: np.ndarray) -> None:
        import torch

        flat, at = torch.from_numpy(parameters.astype(np.float32)), 0
        with torch.no_grad():
            for p in weights:
                p.copy_(flat[at : at + p.numel()].view_as(p))
                at += p.numel()

    def _made(self, seed: int) -> Any:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return standardised(self._mean, self._scale, self._make(2 * len(self._mean)))


def dense_layers(module: Any) -> tuple[Layer, ...] | None:
    """The layers of a module that is nothing but linear ones and functions between them; None for any other.

    Its steps are taken by numpy then, which for small layers takes a tenth of the time of torch.
    """
    import torch

    if type(module) is not torch.nn.Sequential:
        return None
    functions = {torch.nn.ReLU: "relu", torch.nn.Tanh: "tanh", torch.nn.Sigmoid: "sigmoid"}
    layers: list[Layer] = []
    for part in module:
        if type(part) is torch.nn.Linear and part.bias is not None:
            layers.append(Layer(part.in_features, part.out_features, ""))
        elif type(part) in functions and layers and not layers[-1].function:
            layers[-1] = Layer(layers[-1].inputs, layers[-1].outputs, functions[type(part)])
        else:
            return None
    return tuple(layers) if layers and not layers[-1].function else None


def make(learner: Learner, columns: Columns, task: str, total: int, classes: int | None) -> TorchModel:
    """The learner `torch` over columns; of its parameters only `weight_decay` (L2) has a meaning here.

    The step, batches and epochs are the strategy's. Raises Unsupported for a module with buffers, Invalid for others.
    """
    try:
        import torch
    except ImportError:
        raise missing_extra("torch", "torch", "the learner torch") from None
    del torch
    require_known("torch in a federation", learner.params, ("weight_decay",))
    if task not in ("binary", "multiclass", "regression"):
        raise Unsupported(f"the learner torch does not do {task}.")
    return TorchModel(learner, columns, task, number("torch", learner.params, "weight_decay", 0.0, 0.0))
