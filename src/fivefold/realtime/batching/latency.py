"""How long a call takes by its rows: an online fit of the median, and what the slowest calls take beyond it."""

from __future__ import annotations

import numpy as np

KEPT = 256
"""Calls that are remembered; older ones are forgotten, so that the fit follows a machine that becomes slower."""
EVERY = 128
"""Calls between fits, once there are many; the first ones are fitted at each power of two."""
COLD = 2
"""The first calls load libraries and fill caches: they are not remembered."""
ENOUGH = 8
"""Calls from which on the fit is something to refuse a request by."""
_ROUNDS = 6


class Fit:
    """L(n) = `each` n + `once` nanoseconds, by least absolute deviations over the last calls; never negative.

    `beyond` is the 99th percentile of what calls took beyond that. Before the first call all are 0. While all calls had
    the same number of rows, time is taken to be proportional to rows: the cautious guess for larger ones.
    """

    def __init__(self) -> None:
        self.each = self.once = self.beyond = 0.0
        self._rows = [1] * KEPT
        self._took = [0] * KEPT
        self._count = -COLD
        self._next = 1

    @property
    def known(self) -> bool:
        """Whether there were enough calls to tell what the next takes."""
        return self._count >= ENOUGH

    def add(self, rows: int, took: int) -> None:
        """Take note of a call of so many rows and nanoseconds; a clock that went backwards is not believed."""
        if took < 0 or rows < 1:
            return
        if self._count < 0:
            self._count += 1
            return
        place = self._count % KEPT
        self._rows[place], self._took[place] = rows, took
        self._count += 1
        if self._count >= self._next:
            self._next = min(2 * self._count, self._count + EVERY)
            self._fit()

    def usual(self, rows: int) -> float:
        """Nanoseconds that a call of so many rows takes in the middle case."""
        return self.each * rows + self.once

    def late(self, rows: int) -> float:
        """Nanoseconds that 99 of 100 such calls do not exceed."""
        return self.each * rows + self.once + self.beyond

    def _fit(self) -> None:
        count = min(self._count, KEPT)
        rows, took = np.array(self._rows[:count], float), np.array(self._took[:count], float)
        if rows.min() == rows.max():
            self.each, self.once = float(np.median(took)) / float(rows[0]), 0.0
        else:
            self.each, self.once = _line(rows, took)
        beyond = np.sort(took - self.each * rows - self.once)
        self.beyond = max(0.0, float(beyond[int(0.99 * (count - 1))]))


def _line(rows: np.ndarray, took: np.ndarray) -> tuple[float, float]:
    """Slope and intercept, neither negative, by least squares whose weights make it one of absolute deviations."""
    weights = np.ones(len(rows))
    each = once = 0.0
    for _ in range(_ROUNDS):
        total = weights.sum()
        middle, mean = (weights @ rows) / total, (weights @ took) / total
        apart = rows - middle
        spread = weights @ (apart * apart)
        each = max(0.0, float((weights @ (apart * (took - mean))) / spread)) if spread > 0 else 0.0
        once = float(mean - each * middle)
        if once < 0.0:
            once, each = 0.0, float((weights @ (rows * took)) / (weights @ (rows * rows)))
        off = np.abs(took - each * rows - once)
        weights = 1.0 / np.maximum(off, 1.0 + 0.01 * float(np.median(took)))
    return each, once
