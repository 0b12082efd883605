"""Each rule by its definition, and what it guarantees whatever a few send."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.federated.contribution import sent_layout
from fivefold.federated.robust.buckets import combine_buckets, draw_buckets
from fivefold.federated.robust.rules import changes, combine, geometric_median, nearest, trusted

SEEDS = st.integers(0, 2**32)
RULES = [ff.NormBound(1.0), ff.Median(), ff.TrimmedMean(2), ff.Krum(2), ff.Krum(2, keep=3), ff.GeometricMedian()]


def drawn(seed: int, count: int = 9, size: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size))


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_order_of_sites_changes_nothing(rule, seed: int) -> None:  # type: ignore[no-untyped-def]
    each, ones = drawn(seed), np.ones(9)
    order = np.random.default_rng(seed + 1).permutation(9)
    assert np.allclose(changes(rule, each, ones), changes(rule, each[order], ones), atol=1e-9)


@pytest.mark.parametrize("rule", [ff.Median(), ff.TrimmedMean(3), ff.Krum(3), ff.Krum(3, keep=6)], ids=str)
@given(seed=SEEDS, wild=st.floats(-1e12, 1e12))
@settings(max_examples=30, deadline=None)
def test_a_few_false_changes_never_lead_out_of_the_honest_ones(rule, seed: int, wild: float) -> None:  # type: ignore[no-untyped-def]
    honest = drawn(seed, 7)
    false = np.random.default_rng(seed).normal(size=(3, 5)) * wild
    made = changes(rule, np.concatenate([false, honest]), np.ones(10))
    room = 2 * np.abs(honest).max() if isinstance(rule, ff.Krum) else 0.0  # Krum may keep a false one that lies among them
    assert (made >= honest.min(axis=0) - room).all()
    assert (made <= honest.max(axis=0) + room).all()


def test_the_norm_bound_moves_no_farther_than_its_norm() -> None:
    made = changes(ff.NormBound(0.5), drawn(0) * 1e9, np.ones(9))
    assert np.linalg.norm(made) <= 0.5
    short = drawn(1) / 100
    assert np.allclose(changes(ff.NormBound(0.5), short, np.arange(1.0, 10.0)), np.average(short, axis=0, weights=np.arange(1.0, 10.0)))


def test_the_trimmed_mean_leaves_out_both_ends() -> None:
    each = drawn(2)
    naive = [np.mean(sorted(column)[2:-2]) for column in each.T]
    assert np.allclose(changes(ff.TrimmedMean(2), each, np.ones(9)), naive)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_krum_is_its_definition(seed: int) -> None:
    each = drawn(seed)
    scores = []
    for i in range(9):
        apart = sorted(np.sum((each[i] - each[j]) ** 2) for j in range(9) if j != i)
        scores.append(sum(apart[: 9 - 2 - 2]))
    assert nearest(each, 2)[0] == int(np.argmin(scores))
    assert np.allclose(changes(ff.Krum(2), each, np.ones(9)), each[int(np.argmin(scores))])
    assert np.allclose(changes(ff.Krum(2, keep=3), each, np.ones(9)), each[np.argsort(scores)[:3]].mean(axis=0))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_no_point_nearby_is_nearer_to_all_than_the_geometric_median(seed: int) -> None:
    each = drawn(seed, 8, 2)
    at = geometric_median(each, 200)
    here = np.linalg.norm(each - at, axis=1).sum()
    for dx, dy in itertools.product((-1e-3, 0.0, 1e-3), repeat=2):
        assert np.linalg.norm(each - at - [dx, dy], axis=1).sum() >= here - 1e-6


def test_the_geometric_median_of_one_point_many_times_is_that_point() -> None:
    each = np.concatenate([np.ones((5, 3)), [[50.0, 0, 0]]])
    assert geometric_median(each, 32).tolist() == [1.0, 1.0, 1.0]


def test_trust_is_given_by_direction_and_length_by_the_server() -> None:
    own = np.array([1.0, 0.0])
    each = np.array([[5.0, 0.0], [-9.0, 0.0], [0.0, 7.0], [3.0, 3.0]])
    half = np.sqrt(0.5)
    expected = (1 * np.array([1.0, 0.0]) + half * np.array([half, half])) / (1 + half)
    assert np.allclose(trusted(each, own), expected)
    assert trusted(each[1:2], own).tolist() == [0.0, 0.0]
    assert trusted(np.zeros((2, 2)), own).tolist() == [0.0, 0.0]


LAYOUT = sent_layout(update=2)


def sent(update: tuple[float, float], weight: float, loss: float = 0.5) -> np.ndarray:
    return np.array([update[0] * weight, update[1] * weight, weight, loss * weight, 0.0])


def test_no_weight_makes_a_change_count_for_more() -> None:
    given = [sent((1, 1), 1.0), sent((2, 2), 1.0), sent((9, -9), 1e9)]
    told = LAYOUT.unflatten(combine(ff.Median(), given, LAYOUT))
    assert told["update"].tolist() == [2.0, 1.0]
    assert (told["weight"], told["loss"]) == (1.0, 0.5)


@pytest.mark.parametrize(("rule", "count"), [(ff.Krum(2), 6), (ff.TrimmedMean(2), 4), (ff.Median(), 2), (ff.GeometricMedian(), 2)])
def test_too_few_contributions_are_refused(rule: ff.Krum, count: int) -> None:
    with pytest.raises(Invalid, match=rf"needs at least {rule.least()} sites, and there are {count}"):
        combine(rule, [sent((1, 1), 1.0)] * count, LAYOUT)
    combine(rule, [sent((1, 1), 1.0)] * rule.least(), LAYOUT)


def test_trust_without_the_servers_own_change_is_refused() -> None:
    with pytest.raises(Invalid, match="there is none"):
        combine(ff.FLTrust(), [sent((1, 1), 1.0)], LAYOUT)


@given(st.integers(6, 60), st.integers(2, 8), SEEDS)
def test_buckets_hold_every_site_once_and_enough_of_them(count: int, least: int, seed: int) -> None:
    sites = [f"s{i}" for i in range(count)]
    if count // least < 3:
        with pytest.raises(Invalid, match="needs 3"):
            draw_buckets(sites, ff.Median(), least, seed)
        return
    buckets = draw_buckets(sites, ff.Median(), least, seed)
    assert sorted(s for bucket in buckets for s in bucket) == sorted(sites)
    assert min(map(len, buckets)) >= least
    assert max(map(len, buckets)) - min(map(len, buckets)) <= 1
    assert draw_buckets(sites[::-1], ff.Median(), least, seed) == buckets


def test_buckets_are_drawn_anew_and_twice_no_site_is_named() -> None:
    sites = [f"s{i}" for i in range(30)]
    assert draw_buckets(sites, ff.Median(), 5, 0) != draw_buckets(sites, ff.Median(), 5, 1)
    with pytest.raises(Invalid, match="named twice"):
        draw_buckets([*sites, "s0"], ff.Median(), 5, 0)


def test_one_bucket_that_is_led_astray_is_outvoted() -> None:
    sums = {i: (sent((1, 1), 4.0), 4) for i in range(2)} | {2: (sent((-1e6, 1e6), 4.0), 4)}
    assert LAYOUT.unflatten(combine_buckets(ff.Median(), sums, LAYOUT, 4))["update"].tolist() == [1.0, 1.0]
    with pytest.raises(Invalid, match="needs at least 3 buckets, and there are 2"):
        combine_buckets(ff.Median(), {i: sums[i] for i in (0, 2)}, LAYOUT, 4)
    with pytest.raises(Invalid, match="bucket 2 has 3 sites"):
        combine_buckets(ff.Median(), {**sums, 2: (sums[2][0], 3)}, LAYOUT, 4)
