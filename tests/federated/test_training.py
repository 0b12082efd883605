"""A declared federation is trained as it was declared, and comes near to all rows in one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from site_rows import drawn, pooled

import fivefold as ff
from fivefold.catalog import open_catalog
from fivefold.core.errors import Conflict, Invalid, Unsupported
from fivefold.federated.adding import modular_sum
from fivefold.federated.describing import Described
from fivefold.federated.privacy.ledger import ledger_of, pay
from fivefold.federated.robust.attacks import label_flip
from fivefold.federated.training import Trained, train_together
from fivefold.models.learners import fit
from fivefold.models.learners.logistic import describe
from fivefold.models.tasks import Task

ROWS = ff.Table("rows", "r.csv", time="at")
SITES = [drawn(400, seed=i, shift=0.5 * (i % 2)) for i in range(12)]
X, Y = pooled(SITES)
TEST_X, TEST_Y = drawn(5000, seed=99, shift=0.25)
ALONE = fit(ff.learner("logistic"), X, Y, task=Task("binary"), names=list("abcd"))
SECURE = ff.SecureSum(min_survivors=3)


def declared(learner: ff.Learner = ff.learner("logistic"), **more) -> ff.Federation:  # type: ignore[no-untyped-def]
    model = ff.Model("m", ff.Target(ROWS, "y"), [ff.Request("x", float)], learner, ff.RandomSplit())
    return ff.Federation("f", model, **{"split": "c", "rounds": 30, "strategy": ff.FedAvg(lr=2.0, momentum=0.5), **more})


def loss(made: Trained) -> float:
    p = made.fitted.predict(TEST_X).clip(1e-12, 1 - 1e-12)
    return float(-np.mean(TEST_Y * np.log(p) + (1 - TEST_Y) * np.log(1 - p)))


BEST = loss(Trained(ALONE, None, None, 0))


def trained(federation: ff.Federation, sites=SITES, **more) -> Trained:  # type: ignore[no-untyped-def]
    return train_together(federation, sites, "binary", **{"random": np.random.default_rng(0).bytes, **more})


@pytest.mark.parametrize("more", [
    {}, {"privacy": SECURE}, {"strategy": ff.Newton(), "privacy": ff.SecureSum(3, bits=32)}, {"strategy": ff.Newton()},
    {"strategy": ff.Scaffold(epochs=2, lr=0.5), "privacy": SECURE}, {"strategy": ff.FedNova(epochs=2, lr=0.5), "privacy": SECURE},
    {"strategy": ff.FedAdam(lr=1.0, server_lr=0.1), "privacy": SECURE}, {"strategy": ff.FedProx(epochs=3, lr=0.5, mu=0.1), "cohort": 6, "privacy": SECURE},
    {"privacy": [SECURE, ff.DP(3, 1e-5)]}, {"privacy": ff.DP(3, 1e-5)},
    {"privacy": [SECURE, ff.DP(8, 1e-5)], "robust": ff.Median()}, {"privacy": SECURE, "robust": ff.TrimmedMean(1)},
    {"robust": ff.GeometricMedian()}, {"privacy": SECURE, "round_bytes": "44B"}], ids=str)
def test_a_federation_comes_near_to_all_rows_in_one_place(more) -> None:  # type: ignore[no-untyped-def]
    noisy = "DP" in str(more) or "round_bytes" in more
    made = trained(declared(**more))
    assert loss(made) < BEST + (0.02 if noisy else 0.003)


def test_newton_through_a_sum_of_rounded_numbers_finds_the_learners_weights() -> None:
    made = trained(declared(strategy=ff.Newton(), privacy=ff.SecureSum(3, bits=32)))
    assert np.abs(made.fitted.predict(X) - ALONE.predict(X)).max() < 1e-4
    exact = trained(declared(strategy=ff.Newton()))
    assert np.abs(exact.fitted.predict(X) - ALONE.predict(X)).max() < 1e-5


def test_trees_of_a_federation_are_those_of_the_learner() -> None:
    learner = ff.learner("trees", trees=6, depth=3)
    made = trained(declared(learner, strategy=None, privacy=SECURE))
    alone = fit(learner, X, Y, task=Task("binary"), names=list("abcd"))
    assert made.fitted.predict(X).tobytes() == alone.predict(X).tobytes()
    assert made.bytes_up > 0


def test_the_server_sees_whole_numbers_below_the_modulus_and_their_sum_only() -> None:
    seen = []

    def modular(vectors, bits: int) -> np.ndarray:  # type: ignore[no-untyped-def]
        seen.append({len(v) for v in vectors})
        assert all(v.dtype == np.uint64 and (v < 1 << bits).all() for v in vectors)
        return modular_sum(vectors, bits)

    made = trained(declared(privacy=[SECURE, ff.DP(3, 1e-5)], rounds=3), modular=modular)
    assert len(seen) == 2 + 3
    assert all(len(sizes) == 1 for sizes in seen)
    assert made.history is not None
    assert len(made.history.rounds) == 3


def test_all_that_is_released_is_paid_for_and_no_more_than_promised(tmp_path: Path) -> None:
    federation = declared(privacy=[SECURE, ff.DP(3, 1e-5)], rounds=5)
    with open_catalog(f"sqlite:///{tmp_path}/c.db", "p") as catalog:
        def paying(key, what, curve):  # type: ignore[no-untyped-def]
            return pay(catalog.releases, federation, f"run1/{key}", what, curve)

        trained(federation, pay=paying)
        spent = catalog.releases.of(ledger_of(federation))
        assert len(spent) == 2 + 5
        assert 2.9 < spent[-1].epsilon <= 3
        trained(federation, pay=paying)  # the same releases again cost nothing
        with pytest.raises(Conflict, match="budget is 3"):
            trained(federation, pay=lambda k, w, c: pay(catalog.releases, federation, f"run2/{k}", w, c))


def test_a_rule_keeps_a_federation_from_sites_that_lie() -> None:
    lying = [(x, label_flip(y) if i < 3 else y) for i, (x, y) in enumerate(SITES)]
    steps = ff.FedAvg(epochs=5, lr=1.0)
    plain, robust = (loss(trained(declared(strategy=steps, **more), lying)) for more in ({}, {"robust": ff.Krum(3, keep=6)}))
    assert robust < BEST + 0.02
    assert plain > BEST + 0.05
    trusting = trained(declared(strategy=steps, robust=ff.FLTrust()), lying, trusted=drawn(200, seed=77))
    assert loss(trusting) < BEST + 0.05


def test_client_level_noise_needs_public_columns() -> None:
    federation = declared(privacy=[SECURE, ff.DP(50, 1e-5, unit="client")], rounds=4)
    with pytest.raises(Unsupported, match="described="):
        trained(federation)
    made = trained(federation, described=Described(describe(X, ()), len(Y)))
    assert np.isfinite(loss(made))


def test_no_site_is_refused() -> None:
    with pytest.raises(Invalid, match="no site is there"):
        trained(declared(), [])


def test_a_share_of_each_change_is_enough() -> None:
    made = trained(declared(keep=0.4, rounds=60))
    assert made.bytes_up == 2 * 12 + 24
    assert loss(made) < BEST + 0.01
