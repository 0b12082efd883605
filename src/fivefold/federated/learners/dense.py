"""Networks of dense layers by numpy, forwards and backwards (Rumelhart, Hinton and Williams 1986)."""

from __future__ import annotations

import msgspec
import numpy as np

from fivefold.federated.learners.linear import losses, slopes


class Layer(msgspec.Struct, frozen=True):
    """A linear layer, its weights `(outputs, inputs)` and its bias, and the function behind it ("" for none)."""

    inputs: int
    outputs: int
    function: str


class DenseRows:
    """Rows as inputs `(n, inputs)` of the first layer, for parameters laid out layer by layer."""

    def __init__(self, layers: tuple[Layer, ...], x: np.ndarray, y: np.ndarray, task: str, decay: float) -> None:
        self.count = len(y)
        self._layers, self._x, self._task, self._decay = layers, x, task, decay
        self._y = y.astype(np.int64) if task == "multiclass" else np.asarray(y, dtype=np.float64)

    def gradient(
        self, parameters: np.ndarray, batch: np.ndarray | None, with_loss: bool = True
    ) -> tuple[float, np.ndarray]:
        x, y = (self._x, self._y) if batch is None else (self._x[batch], self._y[batch])
        values = self._forwards(parameters, x)
        back = self._slope(values[-1], y) / max(len(y), 1)
        out = np.empty_like(parameters)
        at = len(parameters)
        for i in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[i]
            out[at - layer.outputs : at] = back.sum(axis=0)
            at -= layer.outputs
            size = layer.outputs * layer.inputs
            np.matmul(back.T, values[i], out=out[at - size : at].reshape(layer.outputs, layer.inputs))
            at -= size
            if i:
                weights = parameters[at : at + size].reshape(layer.outputs, layer.inputs)
                back = _through(self._layers[i - 1].function, values[i], back @ weights)
        if self._decay:
            out += self._decay * parameters
        return float(self._losses(values[-1], y).mean()) if with_loss else 0.0, out

    def row_gradients(self, parameters: np.ndarray, batch: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        x, y = (self._x, self._y) if batch is None else (self._x[batch], self._y[batch])
        values = self._forwards(parameters, x)
        back = self._slope(values[-1], y)
        out = np.empty((len(y), len(parameters)))
        at = len(parameters)
        for i in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[i]
            out[:, at - layer.outputs : at] = back
            at -= layer.outputs
            size = layer.outputs * layer.inputs
            out[:, at - size : at] = (back[:, :, None] * values[i][:, None, :]).reshape(len(y), size)
            at -= size
            if i:
                weights = parameters[at : at + size].reshape(layer.outputs, layer.inputs)
                back = _through(self._layers[i - 1].function, values[i], back @ weights)
        return self._losses(values[-1], y), out

    def _forwards(self, parameters: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
        """What goes into each layer, and what comes out of the last."""
        values, at = [x], 0
        for layer in self._layers:
            size = layer.outputs * layer.inputs
            out = values[-1] @ parameters[at : at + size].reshape(layer.outputs, layer.inputs).T
            out += parameters[at + size : at + size + layer.outputs]
            at += size + layer.outputs
            values.append(_applied(layer.function, out))
        return values

    def _slope(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The derivative of each row's loss by what the network gives `(b, outputs)`."""
        if self._task == "multiclass":
            back: np.ndarray = np.exp(out - out.max(axis=1, keepdims=True))
            back /= back.sum(axis=1, keepdims=True)
            back[np.arange(len(y)), y] -= 1.0
            return back
        # torch's squared error is not halved
        return slopes(out[:, 0], y, self._task == "binary")[:, None] * (1.0 if self._task == "binary" else 2.0)

    def _losses(self, out: np.ndarray, y: np.ndarray) -> np.ndarray:
        if self._task == "multiclass":
            top = out.max(axis=1, keepdims=True)
            return np.asarray(np.log(np.exp(out - top).sum(axis=1)) + top[:, 0] - out[np.arange(len(y)), y])
        return losses(out[:, 0], y, self._task == "binary") * (1.0 if self._task == "binary" else 2.0)


def _applied(function: str, out: np.ndarray) -> np.ndarray:
    match function:
        case "relu":
            return np.asarray(np.maximum(out, 0.0, out=out))
        case "tanh":
            return np.asarray(np.tanh(out, out=out))
        case "sigmoid":
            return np.asarray(0.5 + 0.5 * np.tanh(0.5 * out))
    return out


def _through(function: str, value: np.ndarray, back: np.ndarray) -> np.ndarray:
    """The derivative before a function, from that behind it and the function's value."""
    match function:
        case "relu":
            back *= value > 0
        case "tanh":
            back *= 1.0 - value * value
        case "sigmoid":
            back *= value * (1.0 - value)
    return back
