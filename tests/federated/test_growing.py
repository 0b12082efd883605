"""Trees of several sites are those of all rows in one place, through any exact sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from site_rows import pooled, unlike

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.federated.encoding.whole import bits_for, decode_whole, encode_whole
from fivefold.federated.growing import Server, Site, exact_sum, grow_together, modulus_bits
from fivefold.models.learners import fit
from fivefold.models.learners.trees import fitted
from fivefold.models.tasks import Task
from fivefold.models.trees.forest import Settings
from fivefold.models.trees.growth import TreeRows, grow

SETTINGS = Settings(trees=8, depth=3, min_rows=5)


def test_sites_grow_the_trees_of_the_learner_bit_for_bit() -> None:
    parts = unlike(7)
    x, y = pooled(parts)
    growth = grow_together(SETTINGS, 4, True, [TreeRows(*part) for part in parts])
    alone = fit(ff.learner("trees", trees=8, depth=3, min_rows=5), x, y, task=Task("binary"), names=list("abcd"))
    assert fitted(growth).predict(x).tobytes() == alone.predict(x).tobytes()
    assert fitted(growth).model.model_to_string() == alone.model.model_to_string()


def test_sums_modulo_a_power_of_two_are_enough() -> None:
    parts = unlike(5)
    total, sites = sum(len(y) for _, y in parts), [TreeRows(*part) for part in parts]
    seen = []

    def modular(growth) -> np.ndarray:  # type: ignore[no-untyped-def]
        bits = modulus_bits(growth, total)
        seen.append(bits)
        hidden = [encode_whole(site.tell(growth), bits) for site in sites]
        return decode_whole(np.array(sum(h.astype(object) for h in hidden) % (1 << bits), dtype=np.uint64), bits)

    growth = grow(SETTINGS, 4, True, modular)
    assert growth == grow_together(SETTINGS, 4, True, sites)
    assert max(seen) <= 62
    with pytest.raises(Invalid, match="nothing is asked"):
        modulus_bits(growth, total)


def test_trees_grown_over_a_network_are_the_same() -> None:
    parts = unlike(5)
    total = sum(len(y) for _, y in parts)
    server = Server(SETTINGS, 4, True, total)
    sites = [Site(SETTINGS, 4, True, total).over(*part) for part in parts]
    state, asked = server.begin(), 0
    while not server.done(state):
        sent = {name: np.array(array) for name, array in server.broadcast(state).items()}
        vectors = [site(sent) for site in sites]
        assert all(v.shape == (server.length,) and (v < 1 << server.bits).all() for v in vectors)
        state = server.step([Sum(np.sum(vectors[:2], axis=0, dtype=np.uint64)), Sum(np.sum(vectors[2:], axis=0, dtype=np.uint64))], state)
        asked += 1
    x, _ = pooled(parts)
    alone = grow_together(SETTINGS, 4, True, [TreeRows(*part) for part in parts])
    assert server.fitted(state).predict(x).tobytes() == fitted(alone).predict(x).tobytes()
    assert asked == 3 + 8 * 3
    with pytest.raises(Invalid, match="is not asked for"):
        server.step([Sum(vectors[0])], state)


class Sum(NamedTuple):
    vector: np.ndarray


def test_a_sum_is_a_sum_of_each_level_only() -> None:
    parts, asked = unlike(3), []

    def watching(answers: Sequence[np.ndarray]) -> np.ndarray:
        asked.append(len(answers[0]))
        return exact_sum(answers)

    growth = grow_together(SETTINGS, 4, True, [TreeRows(*p) for p in parts], watching)
    assert len(asked) <= 3 + len(growth.trees) * SETTINGS.depth
    assert max(asked[3:]) <= 2 ** (SETTINGS.depth - 1) * 4 * (SETTINGS.bins + 1) * 3


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=4, max_size=4), min_size=1, max_size=9))
def test_whole_numbers_come_back_from_their_sum(values: list[list[int]]) -> None:
    bits = bits_for(1000 * len(values))
    total = np.zeros(4, np.uint64)
    for row in values:
        total = (total + encode_whole(np.array(row, dtype=np.int64), bits)) % np.uint64(1 << bits)
    assert decode_whole(total, bits).tolist() == np.sum(values, axis=0).tolist()


def test_what_does_not_fit_a_modulus_is_refused() -> None:
    with pytest.raises(Invalid, match="does not fit a modulus of 4 bits"):
        encode_whole(np.array([8]), 4)
    with pytest.raises(Invalid, match="accepted: int64"):
        encode_whole(np.array([8.0]), 40)
    with pytest.raises(Invalid, match="accepted: uint64"):
        decode_whole(np.array([16]), 4)
    assert decode_whole(np.array([15, 31], dtype=np.uint64), 4).tolist() == [-1, -1]  # of a larger modulus too
    with pytest.raises(Invalid, match="need a modulus of 64 bits"):
        bits_for(2**62)
    with pytest.raises(Invalid, match="no site is there"):
        grow_together(SETTINGS, 4, True, [])
