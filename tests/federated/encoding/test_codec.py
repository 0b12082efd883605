"""Sums of encoded contributions: exact where exactness is promised, within the bound elsewhere, never overflowing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.federated.contribution import GRAIN, Layout, sent_layout
from fivefold.federated.encoding.codec import decode, encode
from fivefold.federated.encoding.plan import (
    GREATEST,
    Plan,
    Turned,
    exact_plan,
    expected_error,
    make_plan,
    next_reach,
    widest_bits,
)
from fivefold.federated.encoding.rotation import hadamard, padded, rotate, unrotate
from fivefold.federated.encoding.rounding import round_at_random, rounded_length


def added(vectors: list[np.ndarray], plan: Plan) -> np.ndarray:
    """The sum modulo R, in Python's own numbers."""
    columns = zip(*(v.tolist() for v in vectors), strict=True)
    return np.array([sum(column) % (1 << plan.modulus_bits) for column in columns], dtype=np.uint64)


def plan_of(layout: Layout, reach: float = 1.0, **more) -> Plan:  # type: ignore[no-untyped-def]
    return exact_plan(layout, reach, **{"bits": 16, "cohort": 10, "min_survivors": 2, "seed": b"s", **more})


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 70), st.integers(1, 40), st.integers(2, 20), st.floats(0.01, 1e4), st.integers(0, 2**32))
def test_a_sum_is_within_its_bound_and_scalars_are_exact(size: int, sites: int, bits: int, reach: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    layout = sent_layout(update=size)
    plan = plan_of(layout, reach, bits=bits, cohort=sites, min_survivors=1)
    vectors = []
    for _ in range(sites):
        update = random.normal(size=size)
        update *= reach * random.random() / np.linalg.norm(update)
        scalars = random.integers(-(2**40), 2**40, 3) * GRAIN
        vectors.append(np.concatenate([update, scalars]))
    encoded = [encode(v, plan, random.bytes) for v in vectors]
    assert all(e.dtype == np.uint64 and e.shape == (plan.size,) and (e < 1 << plan.bits).all() for e in encoded)
    back = decode(added(encoded, plan), sites, plan)
    whole = np.sum(vectors, axis=0)
    # every turned coordinate is off by less than one step a site, and turning keeps lengths
    worst = sites * plan.grid * math.sqrt(padded(size)) * reach
    assert np.linalg.norm(back[:size] - whole[:size]) <= worst * (1 + 1e-9)
    assert back[size:].tolist() == whole[size:].tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 30), st.integers(2, 24), st.integers(0, 10**6))
def test_the_greatest_values_of_all_sites_do_not_overflow(cohort: int, size: int, bits: int, share: int) -> None:
    layout = sent_layout(update=size)
    plan = make_plan(layout, (Turned("update", 1.0),), length=1.0, bits=bits, cohort=cohort, min_survivors=1, seed=b"", share=share)
    from fivefold.federated.privacy.skellam import reach

    assert plan.offset == plan.half + reach(share)
    assert 2 * plan.offset < 1 << plan.bits
    assert cohort * ((1 << plan.bits) - 1) < 1 << plan.modulus_bits
    assert plan.bits * plan.limbs >= 48


def test_a_vector_on_one_axis_loses_no_more_than_any_other() -> None:
    layout, random = sent_layout(update=64), np.random.default_rng(0)
    plan = plan_of(layout, bits=8)
    axis = np.zeros(67)
    axis[5] = 1.0
    back = [decode(added([encode(axis, plan, random.bytes), encode(axis, plan, random.bytes)], plan), 2, plan)[:64] for _ in range(50)]
    assert np.abs(np.mean(back, axis=0) - 2 * axis[:64]).max() < 0.01  # rounding is right on average
    assert np.linalg.norm(back[0] - 2 * axis[:64]) < 2 * plan.grid * 8


def test_the_error_of_rounding_is_as_foretold() -> None:
    layout, random = sent_layout(update=1000), np.random.default_rng(1)
    plan = plan_of(layout, bits=6)
    vectors = [np.concatenate([v / np.linalg.norm(v), np.zeros(3)]) for v in random.normal(size=(10, 1000))]
    back = decode(added([encode(v, plan, random.bytes) for v in vectors], plan), 10, plan)
    error = np.linalg.norm(back - np.sum(vectors, axis=0))
    assert 0.5 * expected_error(plan) < error < 1.05 * expected_error(plan)


def test_several_vectors_are_told_each_in_its_own_place() -> None:
    layout, random = sent_layout(update=5, control=7), np.random.default_rng(2)
    plan = plan_of(layout, reach=2.0, bits=20)
    vector = np.concatenate([random.normal(size=12) / 3, [0.5, 0.25, 1.0]])
    back = decode(added([encode(vector, plan), encode(-vector, plan), encode(vector, plan)], plan), 3, plan)
    assert np.abs(back - vector).max() < 1e-4


def test_a_vector_beyond_the_reach_is_cut() -> None:
    layout = sent_layout(update=3)
    plan = plan_of(layout, bits=20)
    back = decode(added([encode(np.array([30.0, 40.0, 0, 0, 0, 0]), plan), encode(np.zeros(6), plan)], plan), 2, plan)
    assert np.abs(back[:3] - [0.6, 0.8, 0.0]).max() < 1e-4


@pytest.mark.parametrize(("vector", "message"), [
    (np.array([np.nan, 0, 0, 0]), "infinite or none"), (np.array([0, 0, np.inf, 0]), "infinite or none"),
    (np.array([0, GREATEST, 0, 0]), "a number to be told exactly is"), (np.zeros(5), "shape")])
def test_what_cannot_be_told_is_refused(vector: np.ndarray, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        encode(vector, plan_of(sent_layout(update=1)))


@pytest.mark.parametrize("survivors", [1, 11])
def test_a_sum_of_too_few_or_too_many_is_refused(survivors: int) -> None:
    plan = plan_of(sent_layout(update=1))
    with pytest.raises(Invalid, match="accepted: 2 to 10"):
        decode(np.zeros(plan.size, np.uint64), survivors, plan)


def test_a_sum_of_another_kind_is_refused() -> None:
    plan = plan_of(sent_layout(update=1))
    for wrong in (np.zeros(plan.size), np.zeros(plan.size + 1, np.uint64), np.full(plan.size, 2 << plan.bits, np.uint64)):
        with pytest.raises(Invalid, match="the sum is"):
            decode(wrong, 2, plan)


def test_a_plan_whose_sum_could_overflow_is_refused() -> None:
    with pytest.raises(Invalid, match="needs a modulus of"):
        plan_of(sent_layout(update=4), bits=32, cohort=2**31)


def test_bits_are_chosen_to_keep_a_budget_of_bytes() -> None:
    layout = sent_layout(update=1000)
    bits = widest_bits(layout, 1.0, 2000, cohort=16, min_survivors=8)
    assert exact_plan(layout, 1.0, bits=bits, cohort=16, min_survivors=8, seed=b"").bytes <= 2000
    assert exact_plan(layout, 1.0, bits=bits + 1, cohort=16, min_survivors=8, seed=b"").bytes > 2000
    with pytest.raises(Invalid, match="with two bits each"):
        widest_bits(layout, 1.0, 500, cohort=16, min_survivors=8)


def test_the_reach_grows_only_where_something_was_cut() -> None:
    assert next_reach(1.0, 0.0) == 1.0
    assert next_reach(1.0, 0.25) == 4.0


@given(st.integers(1, 130), st.integers(0, 2**32))
def test_turning_keeps_lengths_and_comes_back(size: int, seed: int) -> None:
    vector = np.random.default_rng(seed).normal(size=size)
    turned = rotate(vector, b"seed")
    assert turned.shape == (padded(size),)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(vector), rel=1e-12)
    assert np.abs(unrotate(turned, b"seed", size) - vector).max() < 1e-12


def test_the_transform_is_that_of_its_matrix() -> None:
    two = np.array([[1, 1], [1, -1]])
    matrix = np.kron(np.kron(two, two), two) / math.sqrt(8)
    vector = np.random.default_rng(0).normal(size=8)
    assert np.allclose(hadamard(vector), matrix @ vector, atol=1e-15)


def test_turning_spreads_a_vector_and_another_seed_turns_otherwise() -> None:
    axis = np.zeros(1024)
    axis[3] = 1.0
    assert np.abs(rotate(axis, b"a")).max() == pytest.approx(1 / 32)
    assert not np.array_equal(rotate(np.ones(64), b"a"), rotate(np.ones(64), b"b"))


@given(st.integers(1, 200), st.floats(0.0, 50.0), st.integers(0, 2**32))
@settings(deadline=None)
def test_rounding_never_makes_a_vector_longer_than_allowed(size: int, length: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    vector = random.normal(size=size)
    vector *= length / np.linalg.norm(vector)
    longest = rounded_length(length, size)
    assert np.linalg.norm(round_at_random(vector, random.bytes, longest)) <= longest * (1 + 1e-12)
    assert longest <= length + math.sqrt(size) + 1e-12


def test_rounding_that_cannot_be_short_enough_is_refused() -> None:
    with pytest.raises(Invalid, match="is not rounded to one of at most 1"):
        round_at_random(np.array([2.0, 2.0]), np.random.default_rng(0).bytes, 1.0)
