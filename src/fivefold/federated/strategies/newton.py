"""Newton's method on sums over all sites' rows: the same steps as on the rows in one place."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.strategies import Newton
from fivefold.federated.contribution import CLIPPED, GRAIN, LOSS, WEIGHT, Terms, cut, sent_layout
from fivefold.federated.learners import Rows, SelfTrained, Trainable
from fivefold.federated.learners.linear import LinearModel, LinearRows
from fivefold.federated.strategies import PARAMETERS, Memory, State
from fivefold.models.learners.logistic import HALVINGS, deviance, newton_step, settled, sums, worse


class SumsOfNewton:
    """A contribution is the gradient, the upper half of the Hessian and the loss at the weights that were sent.

    Weights sent are a trial: where the loss turns out worse, the step is halved in the next round, as it is in
    `models.learners.logistic.newton`. Where a site had to cut its sums to `reach`, nothing moves: they are asked again.
    """

    def __init__(self, how: Newton, model: Trainable) -> None:
        if not isinstance(model, LinearModel):
            raise Invalid("Newton is for the learner logistic.")
        self.model = model
        k = model.layout.size
        self._upper = np.triu_indices(k)
        self.layout = sent_layout(update=k, hessian=len(self._upper[0]))
        self._penalty = np.full(k, model.l2)
        self._penalty[0] = 0.0
        # sums are told divided by a power of two near the number of rows: no bit is lost, and their size is known
        self._unit = 2.0 ** math.ceil(math.log2(max(model.total, 1)))

    def start(self, parameters: np.ndarray) -> State:
        kept = {
            "weights": parameters,
            "step": np.zeros_like(parameters),
            "loss": np.array(math.inf),
            "tried": np.zeros(()),
        }
        return State(0, {PARAMETERS: parameters}, kept)

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        at, held = state.parameters, cast(LinearRows, rows)
        gradient, hessian = sums(held.design, held.y, at, held.binary)
        loss = deviance(held.design, held.y, at, np.zeros_like(at), held.binary)
        told, first = cut(gradient / self._unit, terms.reach)
        curved, second = cut(hessian[self._upper] / self._unit, terms.reach)
        scalars = {WEIGHT: float(rows.count), LOSS: loss, CLIPPED: float(first or second)}
        return self.layout.flatten({"update": told, "hessian": curved, **scalars}), memory

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        told = self.layout.unflatten(total)
        kept, at = state.kept, state.parameters
        if float(told[CLIPPED]) > 0:
            return State(state.round + 1, state.sent, kept)
        loss = float(told[LOSS]) + float(self._penalty @ at**2 / 2)
        tried = int(kept["tried"])
        # sums may have been told in multiples of a grain, which is no worsening
        if (
            worse(loss - survivors * GRAIN, float(kept["loss"]))
            and math.isfinite(kept["loss"])
            and tried < HALVINGS - 1
        ):
            step = kept["step"] / 2
            again = {**kept, "step": step, "tried": np.array(tried + 1.0)}
            return State(state.round + 1, {PARAMETERS: kept["weights"] + step}, again)
        if state.round and self.model.binary and settled(kept["step"], at, self.model.tolerance):
            return State(state.round + 1, state.sent, {**kept, "weights": at, "loss": np.array(loss)}, done=True)
        hessian = np.zeros((len(at), len(at)))
        hessian[self._upper] = told["hessian"] * self._unit
        hessian = hessian + np.triu(hessian, 1).T
        step = newton_step(told["update"] * self._unit, hessian, at, self._penalty)
        moved = {"weights": at, "step": step, "loss": np.array(loss), "tried": np.zeros(())}
        # the loss of a linear regression is quadratic: its first step is the last
        return State(state.round + 1, {PARAMETERS: at + step}, moved, done=not self.model.binary)
