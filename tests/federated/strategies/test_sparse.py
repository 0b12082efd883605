"""Few numbers a round, and nothing lost but time."""

from __future__ import annotations

import numpy as np
from site_rows import columns_of, drawn, pooled

import fivefold as ff
from fivefold.federated.contribution import Terms
from fivefold.federated.learners import trainable
from fivefold.federated.simulation import simulate
from fivefold.federated.strategies import running
from fivefold.federated.strategies.sparse import LEFT, Largest
from fivefold.models.learners.logistic import newton

PARTS = [drawn(150, seed=i, features=20, shift=0.3 * (i % 2)) for i in range(5)]
MODEL = trainable(ff.learner("logistic"), columns_of(PARTS), "binary", total=750)
SITES = [MODEL.rows(x, y) for x, y in PARTS]
INNER = running(ff.FedAvg(lr=0.5), MODEL, 5)
BEST = newton(columns_of(PARTS).design(pooled(PARTS)[0]), pooled(PARTS)[1], 1.0, 25, 1e-9, True)[0]


def test_what_is_sent_and_what_is_left_are_the_change() -> None:
    sparse = Largest(INNER, 0.1)
    assert sparse.count == 3
    assert sparse.bytes == 3 * 12 + 24
    place, memory = sparse.layout.places["update"], {}
    state = sparse.start(MODEL.start(0))
    sent = np.zeros(21)
    for i in range(4):
        random = np.random.default_rng(0)
        before = memory.get(LEFT, np.zeros(21))
        plain, _ = INNER.contribution(state, {}, SITES[0], Terms(), random)
        vector, memory = sparse.contribution(state, memory, SITES[0], Terms(), random)
        assert np.count_nonzero(vector[place]) == 3
        assert np.abs(vector[place])[vector[place] != 0].min() >= np.abs(memory[LEFT]).max()
        assert np.allclose(vector[place] + memory[LEFT], plain[place] + before)
        assert np.array_equal(vector[place.stop :], plain[place.stop :])
        sent += vector[place]
        assert np.allclose(sent + memory[LEFT], (i + 1) * plain[place])


def test_a_tenth_of_the_numbers_finds_the_optimum() -> None:
    made = simulate(Largest(INNER, 0.1), MODEL.start(0), SITES, 600)
    assert np.abs(made.state.parameters - BEST).max() < 0.02


def test_without_what_was_left_out_it_would_not() -> None:
    class Forgetful(Largest):
        def contribution(self, state, memory, rows, terms, random):  # type: ignore[no-untyped-def]
            return super().contribution(state, {}, rows, terms, random)

    made = simulate(Forgetful(INNER, 0.1), MODEL.start(0), SITES, 600)
    assert np.abs(made.state.parameters - BEST).max() > 0.1
