"""Trees are grown by sums: by their definition, whoever holds the rows, and served by LightGBM to the last bit."""

from __future__ import annotations

import itertools

import lightgbm as lgb
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import fivefold as ff
from fivefold.core.errors import Invalid, Unsupported
from fivefold.models.learners import fit
from fivefold.models.tasks import Task
from fivefold.models.trees.bins import CELLS, cell_edges, count_cells, cut, place
from fivefold.models.trees.forest import FINE, Settings, leaves, scores
from fivefold.models.trees.growth import Growth, TreeRows, grow, predict, start, step
from fivefold.models.trees.text import lightgbm_text

SMALL = Settings(trees=6, depth=3, bins=8, min_rows=3)


def rows(seed: int, count: int = 400, features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, features)) * 10.0 ** random.integers(-3, 4, features)
    x[:, 1] = np.round(x[:, 1] / np.abs(x[:, 1]).max() * 3)
    x[random.random(x.shape) < 0.1] = np.nan
    signal = np.nan_to_num(x[:, 0] / np.nanstd(x[:, 0])) + np.isnan(x[:, 2]) - np.nan_to_num(x[:, 1])
    return x, (random.random(count) < 1 / (1 + np.exp(-signal))).astype(float)


def grown(x: np.ndarray, y: np.ndarray, how: Settings = SMALL, binary: bool = True) -> Growth:
    return grow(how, x.shape[1], binary, TreeRows(x, y).tell)


@pytest.mark.parametrize("binary", [True, False])
@given(seed=st.integers(0, 2**32), sites=st.integers(1, 6))
@examples(max_examples=15, deadline=None)
def test_any_division_of_rows_grows_the_same_trees(binary: bool, seed: int, sites: int) -> None:
    x, y = rows(seed)
    y = y if binary else y * 37.5 + np.nan_to_num(x[:, 1])
    part = np.random.default_rng(seed).integers(0, sites, len(y))
    held = [TreeRows(x[part == i], y[part == i]) for i in range(sites)]
    together = grow(SMALL, x.shape[1], binary, lambda g: np.sum([s.tell(g) for s in held], axis=0))
    assert msgspec.json.encode(together) == msgspec.json.encode(grown(x, y, binary=binary))


def test_what_is_known_goes_through_json_between_any_two_sums() -> None:
    x, y = rows(3)
    site, growth = TreeRows(x, y), start(SMALL, x.shape[1], True)
    while not growth.done:
        told = TreeRows(x, y).tell(growth)  # a site that was started anew answers the same
        assert np.array_equal(site.tell(growth), told)
        growth = step(msgspec.json.decode(msgspec.json.encode(growth), type=Growth), told)
    assert growth == grown(x, y)


def best_by_trying(x: np.ndarray, y: np.ndarray, growth: Growth) -> tuple[float, int, int, bool]:
    """The first split of the first tree, by trying all of them in Python's fractions of floats."""
    bins = growth.settings.bins
    placed = place(x, tuple(np.array(e) for e in growth.edges), bins)
    p = 1 / (1 + np.exp(-growth.first))
    g, h = np.rint((p - y) * FINE) / FINE, np.full(len(y), np.rint(p * (1 - p) * FINE) / FINE)
    best = (0.0, -1, -1, False)
    for null_left, feature, edge in itertools.product((False, True), range(x.shape[1]), range(bins - 1)):
        left = np.where(placed[:, feature] == bins, null_left, placed[:, feature] <= edge)
        if min(left.sum(), (~left).sum()) < growth.settings.min_rows or min(h[left].sum(), h[~left].sum()) < 1.0:
            continue

        def part(mask: np.ndarray) -> float:
            return float(g[mask].sum() ** 2 / (h[mask].sum() + 1.0))

        gain = part(left) + part(~left) - part(np.ones(len(y), bool))
        if gain > best[0] * (1 + 1e-9):
            best = (gain, feature, edge, null_left)
    return best


@given(st.integers(0, 2**32))
@examples(max_examples=12, deadline=None)
def test_the_first_split_is_the_best_of_all(seed: int) -> None:
    x, y = rows(seed, 120, 3)
    growth = grown(x, y)
    gain, *_ = best_by_trying(x, y, growth)
    tree = growth.trees[0]
    assert gain == pytest.approx(tree.gain[0] if tree.gain else 0.0, rel=1e-9, abs=1e-8)


def test_leaves_are_newtons_steps() -> None:
    x, y = rows(5)
    growth = grown(x, y, Settings(trees=2, depth=2, learning_rate=0.5, l2=3.0, bins=8, min_rows=3))
    placed = place(x, tuple(np.array(e) for e in growth.edges), 8)
    score = np.full(len(y), growth.first)
    for i, tree in enumerate(growth.trees):
        p, at = 1 / (1 + np.exp(-score)), leaves(tree, placed, 8)
        for leaf, value in enumerate(tree.leaf):
            mine = at == leaf
            step = -0.5 * (p - y)[mine].sum() / ((p * (1 - p))[mine].sum() + 3.0)
            assert value - (growth.first if i == 0 else 0.0) == pytest.approx(step, abs=1e-5)
            assert tree.leaf_rows[leaf] == mine.sum()
        score = scores(growth.trees[: i + 1], placed, 8)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lightgbm_reads_them_and_gives_every_bit(binary: bool, seed: int) -> None:
    x, y = rows(seed, 700)
    y = y if binary else y * 1e4 + np.nan_to_num(x[:, 0])
    growth = grown(x, y, Settings(trees=20, depth=5, bins=32, min_rows=2), binary)
    booster = lgb.Booster(model_str=lightgbm_text(growth))
    beyond = np.concatenate([x, x * 1e9, -x * 1e9, np.full((1, 5), np.nan), np.zeros((1, 5)), np.full((1, 5), np.inf)])
    edges = np.array([[e[i % len(e)] for e in growth.edges] for i in range(40)])  # exactly on thresholds
    everything = np.concatenate([beyond, edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])
    placed = place(everything, tuple(np.array(e) for e in growth.edges), 32)
    assert booster.predict(everything, raw_score=True).tobytes() == scores(growth.trees, placed, 32).tobytes()
    assert np.abs(booster.predict(everything) - predict(growth, everything)).max() <= (1e-15 if binary else 0)
    again = lgb.Booster(model_str=booster.model_to_string(num_iteration=-1))
    assert again.predict(everything).tobytes() == booster.predict(everything).tobytes()


def test_trees_are_as_good_as_lightgbms_of_the_same_shape() -> None:
    x, y = rows(11, 4000)
    test_x, test_y = rows(11, 8000)
    mine = fit(ff.learner("trees", trees=40), x, y, task=Task("binary"), names=list("abcde"))
    theirs = fit(ff.learner("lightgbm", n_estimators=40, max_depth=4, num_leaves=16), x, y, task=Task("binary"), names=list("abcde"))
    loss = [float(np.mean((f.predict(test_x) - test_y) ** 2)) for f in (mine, theirs)]
    assert loss[0] < loss[1] * 1.02
    assert mine.format == "lightgbm"


def test_rows_that_cannot_be_told_apart_are_one_leaf() -> None:
    y = np.array([0.0, 1.0, 1.0, 1.0] * 10)
    growth = grown(np.ones((40, 2)), y)
    assert len(growth.trees) == 1
    assert np.allclose(predict(growth, np.ones((3, 2))), 0.75)
    assert np.allclose(lgb.Booster(model_str=lightgbm_text(growth)).predict(np.ones((3, 2))), 0.75)


def test_growth_ends_where_no_split_gains() -> None:
    x = np.array([[0.0], [1.0]] * 30)
    growth = grown(x, x[:, 0] * 5, Settings(trees=500, learning_rate=1.0, l2=0.0), binary=False)
    assert len(growth.trees) < 20
    assert np.abs(predict(growth, x) - x[:, 0] * 5).max() < 1e-3


@given(st.lists(st.integers(0, 50), min_size=CELLS, max_size=CELLS), st.integers(2, 40))
@examples(max_examples=20, deadline=None)
def test_bins_are_at_most_as_many_and_no_edge_is_idle(counts: list[int], bins: int) -> None:
    edges = cell_edges(np.zeros(1), np.ones(1))
    (made,) = cut(np.array([counts]), edges, bins)
    assert len(made) < bins
    assert (np.diff(made) > 0).all()
    held = np.cumsum(counts)
    total = held[-1]
    assert made[-1] == 1e300
    assert all(0 < held[np.searchsorted(edges[0], e)] < total for e in made[:-1])


def test_every_value_is_in_one_cell_and_null_in_none() -> None:
    x = np.array([[-1e9], [0.0], [1e9], [np.nan]])
    counts = count_cells(x, cell_edges(np.zeros(1), np.ones(1)))
    assert counts.sum() == 3
    assert counts[0, 0] == counts[0, -1] == 1


@pytest.mark.parametrize(("params", "message"), [
    ({"depth": 6}, "depth=6 \\(accepted: whole numbers from 1 to 5"), ({"trees": 0}, "trees=0"), ({"bins": 256}, "bins=256"),
    ({"l2": -1}, "l2=-1"), ({"learning_rate": 0}, "learning_rate=0"), ({"min_rows": 1.5}, "min_rows=1.5"),
    ({"dpeth": 3}, "no parameter 'dpeth'.*Did you mean 'depth'")])
def test_a_wrong_parameter_is_refused(params: dict[str, float], message: str) -> None:
    x, y = rows(0, 50)
    with pytest.raises(Invalid, match=message):
        fit(ff.learner("trees", **params), x, y, task=Task("binary"), names=list("abcde"))


def test_what_trees_do_not_do_is_refused() -> None:
    x, y = rows(0, 50)
    with pytest.raises(Unsupported, match="does not do multiclass"):
        fit(ff.learner("trees"), x, y, task=Task("multiclass"), names=list("abcde"))
    with pytest.raises(Invalid, match="same label"):
        grown(x, np.ones(50))
    with pytest.raises(Invalid, match="accepted: int64 of"):
        step(start(SMALL, 5, True), np.zeros(3, np.int64))
    done = grown(x, y)
    with pytest.raises(Invalid, match="nothing is asked"):
        TreeRows(x, y).tell(done)
