"""Every attack against every rule: the plain mean fails where the rules hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from site_rows import columns_of, drawn, pooled

import fivefold as ff
from fivefold.federated.adding import plain_sum
from fivefold.federated.contribution import Terms
from fivefold.federated.learners import trainable
from fivefold.federated.robust import attacks
from fivefold.federated.robust.buckets import combine_buckets, draw_buckets
from fivefold.federated.robust.rules import combine
from fivefold.federated.simulation import simulate
from fivefold.federated.strategies import State, running
from fivefold.models.learners.logistic import newton

SITES, FALSE = 20, 6
PARTS = [drawn(100, seed=i, features=6, shift=0.3 * (i % 2)) for i in range(SITES)]
MODEL = trainable(ff.learner("logistic"), columns_of(PARTS), "binary", total=100 * SITES)
STRATEGY = running(ff.FedAvg(epochs=3, lr=0.5, batch_size=20), MODEL, SITES)
TEST = MODEL.rows(*drawn(4000, seed=999, features=6))
TRUSTED = MODEL.rows(*drawn(60, seed=77, features=6))
BEST = newton(columns_of(PARTS).design(pooled(PARTS[FALSE:])[0]), pooled(PARTS[FALSE:])[1], 1.0, 25, 1e-9, True)[0]
GOAL = -3.0 * np.array([0, 1, -1, 1, -1, 1, -1])  # what a backdoor would have the model become
PLACE, WEIGHT = STRATEGY.layout.places["update"], STRATEGY.layout.places["weight"].start
Combining = Callable[[list[np.ndarray], np.ndarray], np.ndarray]


def false_changes(attack: str, honest: np.ndarray, at: np.ndarray) -> np.ndarray | None:
    match attack:
        case "sign flip":
            return attacks.sign_flip(honest, FALSE)
        case "inner product":
            return attacks.inner_product(honest, FALSE, 10.0)
        case "little is enough":
            return attacks.little_is_enough(honest, FALSE)
        case "min max":
            return attacks.min_max(honest, FALSE)
        case "backdoor":
            return attacks.scaled_backdoor(honest, FALSE, GOAL - at, SITES)
    return None


def trained(attack: str, combining: Combining) -> tuple[float, float]:
    """Accuracy on rows of everyone, and the distance of the model from the honest sites' own optimum."""
    flipped = attack == "label flip"
    sites = [MODEL.rows(x, attacks.label_flip(y) if flipped and i < FALSE else y) for i, (x, y) in enumerate(PARTS)]
    at = [MODEL.start(0)]

    def add(vectors: list[np.ndarray], terms: Terms, state: State) -> np.ndarray:
        given = [v.copy() for v in vectors]
        honest = np.stack([v[PLACE] / v[WEIGHT] for v in given[FALSE:]])
        false = false_changes(attack, honest, at[0])
        for vector, change in zip(given[:FALSE], [] if false is None else false, strict=False):
            vector[PLACE] = change * vector[WEIGHT]
        return combining(given, at[0])

    def watch(state: State) -> float:
        at[0] = state.parameters
        return 0.0

    state = simulate(STRATEGY, MODEL.start(0), sites, 12, add=add, watch=watch).state
    right = float(np.mean((TEST.design @ state.parameters > 0) == TEST.y))
    return right, float(np.linalg.norm(state.parameters - BEST))


@cache
def by_the_mean(attack: str) -> tuple[float, float]:
    return trained(attack, lambda vectors, at: plain_sum(vectors))


def by(rule: ff.Median) -> Combining:
    def combining(vectors: list[np.ndarray], at: np.ndarray) -> np.ndarray:
        own, _ = STRATEGY.contribution(State(0, {"parameters": at}), {}, TRUSTED, Terms(equal=True), np.random.default_rng(0))
        return combine(rule, vectors, STRATEGY.layout, own=own[PLACE])

    return combining


RULES = [ff.NormBound(0.3), ff.Median(), ff.TrimmedMean(FALSE), ff.Krum(FALSE), ff.Krum(FALSE, keep=10), ff.GeometricMedian(), ff.FLTrust()]
OPEN = ["sign flip", "inner product", "backdoor"]
HIDDEN = ["label flip", "little is enough", "min max"]


@pytest.mark.parametrize("attack", OPEN)
def test_the_plain_mean_is_ruined_by_open_attacks(attack: str) -> None:
    assert by_the_mean("none")[0] > 0.8
    assert by_the_mean(attack)[0] < 0.3


def test_the_plain_mean_is_led_away_by_flipped_labels() -> None:
    assert by_the_mean("none")[1] < 0.2
    assert by_the_mean("label flip")[1] > 1.5


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("attack", ["none", *OPEN, *HIDDEN])
def test_every_rule_keeps_the_model_good(rule: ff.Median, attack: str) -> None:
    right, away = trained(attack, by(rule))
    assert right > 0.79
    # a norm bound limits what each site does, but not to which side many of them pull
    assert away < (1.5 if isinstance(rule, ff.NormBound) else 1.0)


def test_a_rule_across_secure_buckets_withstands_what_their_mean_does_not() -> None:
    """Two false sites among twenty are in two of six buckets at most."""
    few = 2

    def in_buckets(rule: ff.Median | None) -> float:
        counter, at = [0], MODEL.start(0)
        state = STRATEGY.start(at)
        randoms = [np.random.default_rng([5, i]) for i in range(SITES)]
        sites = [MODEL.rows(x, y) for x, y in PARTS]
        for _ in range(12):
            sent = {str(i): STRATEGY.contribution(state, {}, s, Terms(), randoms[i])[0] for i, s in enumerate(sites)}
            honest = np.stack([v[PLACE] / v[WEIGHT] for v in list(sent.values())[few:]])
            for i in range(few):
                sent[str(i)][PLACE] = attacks.inner_product(honest, 1, 30.0)[0] * sent[str(i)][WEIGHT]
            buckets = draw_buckets(list(sent), ff.Median(), 3, counter[0])
            counter[0] += 1
            sums = {b: (plain_sum([sent[s] for s in bucket]), len(bucket)) for b, bucket in enumerate(buckets)}
            total = plain_sum([v for v, _ in sums.values()]) if rule is None else combine_buckets(rule, sums, STRATEGY.layout, 3)
            state = STRATEGY.step(state, total, SITES)
        return float(np.mean((TEST.design @ state.parameters > 0) == TEST.y))

    assert in_buckets(None) < 0.3
    for rule in (ff.Median(), ff.TrimmedMean(2), ff.GeometricMedian()):
        assert in_buckets(rule) > 0.78


def test_the_library_makes_what_the_papers_say() -> None:
    honest = np.random.default_rng(0).normal(1.0, 0.5, size=(14, 8))
    mean, spread = honest.mean(axis=0), honest.std(axis=0)
    assert attacks.label_flip(np.array([0.0, 1.0, 2.0]), 3).tolist() == [2.0, 1.0, 0.0]
    assert np.allclose(attacks.sign_flip(honest, 2, 3.0), [-3 * mean] * 2)
    goal = np.arange(8.0)
    whole = np.concatenate([honest, attacks.scaled_backdoor(honest, 6, goal, 20)])
    assert np.allclose(whole.mean(axis=0), goal)
    alie = attacks.little_is_enough(honest, 6)
    z = (mean - alie[0]) / spread
    assert np.allclose(z, z[0])
    assert 0.3 <= z[0] < 1.0
    far = attacks.min_max(honest, 3)[0]
    widest = max(np.linalg.norm(a - b) for a in honest for b in honest)
    assert max(np.linalg.norm(far - h) for h in honest) == pytest.approx(widest, rel=1e-6)
    assert (far - mean) @ mean < 0
