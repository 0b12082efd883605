"""A declared federation, trained in one process over sites that hold rows, as it is over a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.federation import Federation
from fivefold.federated.adding import (
    Adding,
    ModularSum,
    by_rule,
    encoded,
    in_buckets,
    modular_sum,
    plain_sum,
)
from fivefold.federated.contribution import Terms
from fivefold.federated.describing import RELEASES, Described, Paying, describe_together
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.encoding.whole import decode_whole, encode_whole
from fivefold.federated.growing import modulus_bits
from fivefold.federated.learners import Rows, SelfTrained, trainable
from fivefold.federated.planning import planning_of
from fivefold.federated.simulation import History, simulate
from fivefold.federated.strategies import Running, State, running
from fivefold.federated.strategies.sparse import Largest
from fivefold.models.fitted import Fitted
from fivefold.models.learners import trees
from fivefold.models.trees.growth import Growth, TreeRows, grow

Part = tuple[np.ndarray, np.ndarray]
"""A site's rows `(n, features)` with NaN for null, and labels `(n,)`."""


class Trained(msgspec.Struct, frozen=True):
    """The model of a federation, its rounds, and what a site sent in one of them (the largest, for trees)."""

    fitted: Fitted
    history: History | None
    described: Described | None
    bytes_up: int


def train_together(
    federation: Federation,
    sites: Sequence[Part],
    task: str,
    *,
    levels: tuple[int, ...] | None = None,
    classes: int | None = None,
    seed: int = 0,
    modular: ModularSum = modular_sum,
    pay: Paying | None = None,
    described: Described | None = None,
    trusted: Part | None = None,
    watch: Callable[[State], float] | None = None,
    random: RandomBytes = os.urandom,
) -> Trained:
    """Describe the columns, then round after round: the same steps as over a network, with any modular sum.

    `levels` is the number of categories of each column, -1 for numbers (the default for all). `pay` is called with the
    curve of every release before it. With `described` the columns are taken so, and not asked for. `trusted` are the
    server's own rows, for FLTrust. Raises Invalid where the sites are too few for what was declared.
    """
    if not sites:
        raise Invalid(f"{federation.ref}: no site is there.")
    levels = levels or (-1,) * sites[0][0].shape[1]
    if federation.trained.kind == "trees":
        return _trees(federation, sites, task, modular)
    dp, secure = federation.dp, federation.secure
    if described is None:
        if dp is not None and dp.unit == "client":
            raise Unsupported(
                f"{federation.ref}: columns cannot be described by their sites under unit='client'.",
                hint="Give described=, made of public numbers.",
            )
        described = describe_together(
            [x for x, _ in sites],
            levels,
            modular=modular,
            dp=dp,
            releases=federation.rounds + RELEASES,
            min_survivors=secure.min_survivors if secure else 1,
            pay=pay,
            random=random,
        )
    model = trainable(federation.trained, described.columns, task, total=described.total, classes=classes)
    assert federation.steps is not None
    strategy = running(federation.steps, model, len(sites))
    sparse = Largest(strategy, federation.keep) if federation.keep < 1 else None
    strategy = sparse or strategy
    rows = [model.rows(x, y) for x, y in sites]
    own = None if trusted is None else _own_change(strategy, model.rows(*trusted))
    sums = _sums(federation, strategy, len(sites), described, modular, pay, random, seed, own)
    history = simulate(
        strategy,
        model.start(seed),
        rows,
        federation.rounds,
        terms=sums.terms,
        cohort=federation.cohort,
        seed=seed,
        add=sums.add,
        adapt=secure is not None and dp is None,
        watch=watch,
    )
    return Trained(
        model.fitted(history.state.parameters), history, described, sparse.bytes if sparse else sums.bytes_up
    )


def _own_change(strategy: Running, rows: Rows | SelfTrained) -> Callable[[State], np.ndarray]:
    def own(state: State) -> np.ndarray:
        told, _ = strategy.contribution(state, {}, rows, Terms(equal=True), np.random.default_rng(state.round))
        return told[strategy.layout.places["update"]]

    return own


def _trees(federation: Federation, sites: Sequence[Part], task: str, modular: ModularSum) -> Trained:
    how = trees.settings(federation.trained, task)
    total, largest = sum(len(y) for _, y in sites), 0

    def add(growth: Growth, answers: Sequence[np.ndarray]) -> np.ndarray:
        nonlocal largest
        bits = modulus_bits(growth, total)
        largest = max(largest, -(-growth.size * bits // 8))
        return decode_whole(modular([encode_whole(a, bits) for a in answers], bits), bits)

    rows = [TreeRows(x, y) for x, y in sites]
    grown = grow(how, sites[0][0].shape[1], task == "binary", lambda g: add(g, [site.tell(g) for site in rows]))
    return Trained(trees.fitted(grown), None, None, largest)


class _Sums(msgspec.Struct):
    """How the contributions of a federation are added up, under which terms, and what a site sends in a round."""

    terms: Terms
    add: Adding
    bytes_up: int


def _sums(
    federation: Federation,
    strategy: Running,
    sites: int,
    described: Described,
    modular: ModularSum,
    pay: Paying | None,
    random: RandomBytes,
    seed: int,
    own: Callable[[State], np.ndarray] | None,
) -> _Sums:
    dp, secure, rule, layout = federation.dp, federation.secure, federation.robust, strategy.layout
    cohort = federation.cohort or sites
    if secure is None and dp is None:
        add: Adding = plain_sum if rule is None else by_rule(rule, layout, own)
        return _Sums(Terms(total=described.total), add, 8 * layout.size)
    planning, terms, plan, _ = planning_of(federation, layout, cohort, described, pay, seed)
    add = encoded(planning, modular, random)
    if rule is not None and secure is not None:
        add = in_buckets(rule, layout, secure.min_survivors, add, seed)
    return _Sums(terms, add, plan.bytes if secure else 8 * layout.size)
