"""Server and sites as a network moves their vectors: the same model as in one process, from sums of unsigned numbers."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import pytest
from site_rows import drawn, pooled

import fivefold as ff
from fivefold.core.errors import Conflict, Invalid
from fivefold.federated.describing import Described
from fivefold.federated.stepping import Server, Site
from fivefold.models.learners import fit
from fivefold.models.learners.logistic import describe
from fivefold.models.tasks import Task

SITES = [drawn(300, seed=i, shift=0.5 * (i % 2)) for i in range(12)]
X, Y = pooled(SITES)
DESCRIBED = Described(describe(X, ()), len(Y))
ALONE = fit(ff.learner("logistic"), X, Y, task=Task("binary"), names=list("abcd"))
SECURE = ff.SecureSum(min_survivors=3)


class Part(NamedTuple):
    vector: np.ndarray
    clients: tuple[str, ...]


def federation(**more) -> ff.Federation:  # type: ignore[no-untyped-def]
    rows = ff.Table("rows", "r.csv", time="at")
    model = ff.Model("m", ff.Target(rows, "y"), [ff.Request("x", float)], ff.learner("logistic"), ff.RandomSplit())
    return ff.Federation("f", model, **{"split": "c", "rounds": 25, "strategy": ff.FedAvg(lr=2.0, momentum=0.5), **more})


def stored(arrays):  # type: ignore[no-untyped-def]
    """Arrays as they come back from a file."""
    file = io.BytesIO()
    np.savez(file, **{name.replace("/", "__"): a for name, a in arrays.items()})
    file.seek(0)
    return {name.replace("__", "/"): a for name, a in np.load(file).items()}


def run(declared: ff.Federation, rounds: int = 25, grouping=lambda names: [names], lost=frozenset(), **more):  # type: ignore[no-untyped-def]
    server = Server(declared, DESCRIBED, "binary", 12, **more)
    sites = [Site(declared, DESCRIBED, "binary", 12).over(x, y) for x, y in SITES]
    random, state = np.random.default_rng(0), stored(server.begin())
    for number in range(rounds):
        sent = stored(server.broadcast(state))
        assert not any(name.startswith("kept") for name in sent)
        there = [i for i in range(12) if (number, i) not in lost]
        vectors = {str(i): sites[i](sent, random.bytes) for i in there}
        assert all(v.shape == (server.length,) and (v < 1 << server.bits).all() for v in vectors.values())
        parts = [Part(np.sum([vectors[n] for n in names], axis=0, dtype=np.uint64), tuple(names)) for names in grouping(list(vectors))]
        state = stored(server.step(parts, state))
        if server.done(state):
            break
    return server, state


def away(server: Server, state) -> float:  # type: ignore[no-untyped-def]
    return float(np.abs(server.fitted(state).predict(X) - ALONE.predict(X)).mean())


def three(names: list[str]) -> list[list[str]]:
    return [names[i::3] for i in range(3)]


@pytest.mark.parametrize(("more", "grouping"), [
    ({"privacy": SECURE}, lambda names: [names]), ({"privacy": ff.SecureSum(3, bits=32), "strategy": ff.Newton()}, lambda names: [names]),
    ({"privacy": SECURE, "strategy": ff.Scaffold(epochs=5, lr=0.5)}, lambda names: [names]),
    ({"privacy": SECURE, "robust": ff.Median()}, three), ({"privacy": [SECURE, ff.DP(5, 1e-5, clip=3.0)]}, lambda names: [names]),
    ({}, lambda names: [[n] for n in names]), ({"robust": ff.TrimmedMean(2)}, lambda names: [[n] for n in names]),
    ({"privacy": ff.DP(5, 1e-5, clip=3.0)}, lambda names: [[n] for n in names])], ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_rounds_over_a_network_come_to_the_same_model(more, grouping) -> None:  # type: ignore[no-untyped-def]
    # the median of three buckets, and noise, are not the mean
    assert away(*run(federation(**more), grouping=grouping)) < (0.03 if "DP" in str(more) or "robust" in more else 0.01)


def test_sites_that_are_lost_in_a_round_are_left_out_of_it() -> None:
    lost = frozenset((n, i) for n in range(25) for i in range(n % 4))
    assert away(*run(federation(privacy=SECURE), lost=lost)) < 0.01


def test_fewer_survivors_than_promised_change_nothing() -> None:
    server = Server(federation(privacy=SECURE), DESCRIBED, "binary", 12)
    state = server.begin()
    with pytest.raises(Invalid, match="survivors=2"):
        server.step([Part(np.zeros(server.length, np.uint64), ("a", "b"))], state)


def test_a_round_that_is_asked_again_starts_from_the_same_memory() -> None:
    declared = federation(strategy=ff.Scaffold(lr=0.5), privacy=SECURE)
    server = Server(declared, DESCRIBED, "binary", 12)
    site = Site(declared, DESCRIBED, "binary", 12).over(*SITES[0])
    sent = server.broadcast(server.begin())
    first, memory = site(sent, np.random.default_rng(0).bytes), site.memory
    assert np.array_equal(site(sent, np.random.default_rng(0).bytes), first)
    assert np.array_equal(site.memory["control"], memory["control"])


def test_a_round_is_paid_for_before_anybody_is_asked() -> None:
    def pay(key, what, curve):  # type: ignore[no-untyped-def]
        raise Conflict("the budget is spent")

    server = Server(federation(privacy=[SECURE, ff.DP(5, 1e-5)]), DESCRIBED, "binary", 12, pay=pay)
    with pytest.raises(Conflict, match="the budget is spent"):
        server.broadcast(server.begin())


def test_the_reach_grows_until_no_site_has_to_cut() -> None:
    declared = federation(strategy=ff.FedAvg(lr=2.0, epochs=30), privacy=SECURE)
    _, state = run(declared, 6)
    assert state["reach"] >= 1.0
    far = Server(declared, DESCRIBED, "binary", 12)
    begun = far.begin() | {"reach": np.array(1e-3)}
    sites = [Site(declared, DESCRIBED, "binary", 12).over(x, y) for x, y in SITES]
    vectors = [s(far.broadcast(begun)) for s in sites]
    after = far.step([Part(np.sum(vectors, axis=0, dtype=np.uint64), tuple("abcdefghijkl"))], begun)
    assert after["reach"] == 4e-3


def test_trees_are_no_steps() -> None:
    with pytest.raises(Invalid, match="grow by sums of their own"):
        Server(federation(learner=ff.learner("trees"), strategy=None), DESCRIBED, "binary", 3)


def test_the_epsilon_of_rounds_is_told_and_grows_to_what_was_promised() -> None:
    server = Server(federation(privacy=[SECURE, ff.DP(5, 1e-5)]), DESCRIBED, "binary", 12)
    told = [server.epsilon(n) for n in (1, 10, 25)]
    assert told == sorted(told)
    assert 4.9 < told[-1] <= 5
    assert Server(federation(privacy=SECURE), DESCRIBED, "binary", 12).epsilon(3) is None


def test_a_noisy_sum_that_cannot_be_used_is_spent_all_the_same() -> None:
    declared = federation(privacy=[ff.SecureSum(min_survivors=2), ff.DP(5, 1e-5)])
    server = Server(declared, DESCRIBED, "binary", 12)
    state = server.begin()
    # the sum of the offsets alone: all numbers are zero, and so is the weight
    nothing = Part(np.full(server.length, 2 * server._plan.offset, np.uint64), ("a", "b"))
    after = server.step([nothing], state)
    assert after["round"] == 1
    assert np.array_equal(after["sent/parameters"], state["sent/parameters"])
