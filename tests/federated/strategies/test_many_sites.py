"""What each strategy does with sites that are unlike."""

from __future__ import annotations

import numpy as np
import pytest
from site_rows import Part, columns_of, drawn, pooled

import fivefold as ff
from fivefold.core.errors import Invalid, NotFound
from fivefold.federated.contribution import Terms
from fivefold.federated.learners import trainable
from fivefold.federated.simulation import simulate
from fivefold.federated.strategies import State, running
from fivefold.models.learners.logistic import newton


def build(parts: list[Part], learner: ff.Learner = ff.learner("logistic")):  # type: ignore[no-untyped-def]
    made = trainable(learner, columns_of(parts), "binary", total=sum(len(y) for _, y in parts))
    return made, [made.rows(x, y) for x, y in parts]


def optimum(parts: list[Part]) -> np.ndarray:
    x, y = pooled(parts)
    return newton(columns_of(parts).design(x), y, 1.0, 25, 1e-10, True)[0]


def distance(state: State, best: np.ndarray) -> float:
    return float(np.abs(state.parameters - best).max())


def test_newton_over_sites_is_newton_over_all_rows(parts: list[Part]) -> None:
    made, sites = build(parts)
    assert distance(simulate(running(ff.Newton(), made, 5), made.start(0), sites, 30).state, optimum(parts)) < 1e-9


def test_one_full_step_a_round_is_gradient_descent_on_all_rows(parts: list[Part]) -> None:
    made, sites = build(parts)
    together = made.rows(*pooled(parts))
    several = simulate(running(ff.FedAvg(lr=0.5), made, 5), made.start(0), sites, 7).state
    alone = simulate(running(ff.FedAvg(lr=0.5), made, 1), made.start(0), [together], 7).state
    assert np.abs(several.parameters - alone.parameters).max() < 1e-12


@pytest.mark.parametrize("terms", [Terms(), Terms(total=700), Terms(equal=True)])
def test_weights_are_rows_unless_all_are_equal(parts: list[Part], terms: Terms) -> None:
    made, sites = build(parts)
    strategy = running(ff.FedAvg(lr=1.0), made, 5)
    state = simulate(strategy, made.start(0), sites, 1, terms=terms).state
    changes = [-s.gradient(made.start(0), None)[1] for s in sites]
    weights = [1.0] * 5 if terms.equal else [float(len(y)) for _, y in parts]
    assert np.allclose(state.parameters, np.average(changes, axis=0, weights=weights), atol=1e-6)


def test_many_local_steps_drift_and_scaffold_does_not(parts: list[Part]) -> None:
    # the common optimum under equal weights, since sites' controls count alike
    parts = [drawn(80, seed=i, shift=1.5 * (i % 2) - 0.75) for i in range(5)]
    parts = [(x, 1 - y if i == 0 else y) for i, (x, y) in enumerate(parts)]
    made, sites = build(parts)
    best = optimum(parts)
    how = {"epochs": 20, "lr": 0.5}
    drifted = distance(simulate(running(ff.FedAvg(**how), made, 5), made.start(0), sites, 80).state, best)
    corrected = distance(simulate(running(ff.Scaffold(**how), made, 5), made.start(0), sites, 80).state, best)
    held = distance(simulate(running(ff.FedProx(**how, mu=2.0), made, 5), made.start(0), sites, 80).state, best)
    assert drifted > 0.05
    assert corrected < 1e-4
    assert held < drifted


def test_scaffold_with_some_sites_a_round_still_ends_at_the_optimum() -> None:
    parts = [drawn(80, seed=i, shift=1.5 * (i % 2) - 0.75) for i in range(6)]
    made, sites = build(parts)
    history = simulate(running(ff.Scaffold(epochs=5, lr=0.3), made, 6), made.start(0), sites, 600, cohort=2)
    assert distance(history.state, optimum(parts)) < 1e-3
    assert {len(r.sites) for r in history.rounds} == {2}


def test_novas_mean_is_not_led_by_sites_that_step_more() -> None:
    parts = [drawn(20, seed=1, shift=0.7), drawn(400, seed=2, shift=-0.7)]
    made, sites = build(parts)
    best = optimum(parts)
    how = {"epochs": 4, "batch_size": 20, "lr": 0.1}
    plain = distance(simulate(running(ff.FedAvg(**how), made, 2), made.start(0), sites, 150).state, best)
    nova = distance(simulate(running(ff.FedNova(**how), made, 2), made.start(0), sites, 150).state, best)
    assert nova < 0.2
    assert plain < 0.5  # both near; the update of nova is tested exactly below


def test_novas_step_is_that_of_the_paper(parts: list[Part]) -> None:
    made, sites = build(parts)
    strategy = running(ff.FedNova(batch_size=30, lr=0.2), made, 5)
    start = strategy.start(made.start(0))
    sent = [strategy.contribution(start, {}, s, Terms(), np.random.default_rng(i))[0] for i, s in enumerate(sites)]
    p = np.array([len(y) for _, y in parts]) / sum(len(y) for _, y in parts)
    tau = np.array([len(y) // 30 for _, y in parts])
    plain = running(ff.FedAvg(batch_size=30, lr=0.2), made, 5)
    deltas = []
    for i, s in enumerate(sites):
        vector, _ = plain.contribution(plain.start(made.start(0)), {}, s, Terms(), np.random.default_rng(i))
        deltas.append(plain.layout.unflatten(vector)["update"] / s.count)
    expected = (p @ tau) * sum(pi * d / t for pi, d, t in zip(p, deltas, tau, strict=True))
    assert np.allclose(strategy.step(start, np.sum(sent, axis=0), 5).parameters, expected, atol=1e-12)


def test_adams_first_step_is_that_of_the_paper(parts: list[Part]) -> None:
    made, sites = build(parts)
    how = ff.FedAdam(lr=0.1, server_lr=0.05, beta1=0.8, beta2=0.9, tau=0.01)
    state = simulate(running(how, made, 5), made.start(0), sites, 1).state
    change = simulate(running(ff.FedAvg(lr=0.1), made, 5), made.start(0), sites, 1).state.parameters
    m, v = 0.2 * change, 0.9 * 0.01**2 + 0.1 * change**2
    assert np.allclose(state.parameters, 0.05 * m / (np.sqrt(v) + 0.01), atol=1e-15)


def test_adam_reaches_the_optimum(parts: list[Part]) -> None:
    made, sites = build(parts)
    state = simulate(running(ff.FedAdam(lr=0.5, server_lr=0.05), made, 5), made.start(0), sites, 400).state
    assert distance(state, optimum(parts)) < 0.05


def test_a_change_longer_than_the_reach_is_cut_and_told(parts: list[Part]) -> None:
    made, sites = build(parts)
    strategy = running(ff.FedAvg(lr=5.0), made, 5)
    vector, _ = strategy.contribution(strategy.start(made.start(0)), {}, sites[0], Terms(reach=0.25, equal=True), np.random.default_rng(0))
    told = strategy.layout.unflatten(vector)
    assert np.linalg.norm(told["update"]) == pytest.approx(0.25)
    assert told["clipped"] == 1.0


def test_newton_asks_again_where_a_site_had_to_cut(parts: list[Part]) -> None:
    made, sites = build(parts)
    strategy = running(ff.Newton(), made, 5)
    state = simulate(strategy, made.start(0), sites, 3, terms=Terms(reach=1e-3)).state
    assert not state.parameters.any()
    assert state.round == 3


def test_rows_cut_one_by_one_are_one_step_of_their_sum(parts: list[Part]) -> None:
    made, sites = build(parts)
    total = sum(s.count for s in sites)
    state = simulate(running(ff.FedAvg(lr=0.7), made, 5), made.start(0), sites, 1, terms=Terms(total=total, row_clip=0.5)).state
    whole = np.zeros(made.layout.size)
    for site in sites:
        _, gradients = site.row_gradients(made.start(0), None)
        for row in gradients:
            whole -= row * min(1.0, 0.5 / np.linalg.norm(row))
    assert np.allclose(state.parameters, 0.7 * whole / total, atol=1e-12)


def test_rows_that_need_no_cut_give_the_plain_step(parts: list[Part]) -> None:
    made, sites = build(parts)
    loose = simulate(running(ff.FedAvg(), made, 5), made.start(0), sites, 1, terms=Terms(row_clip=1e9)).state
    plain = simulate(running(ff.FedAvg(), made, 5), made.start(0), sites, 1).state
    assert np.allclose(loose.parameters, plain.parameters, atol=1e-12)


def two_minds() -> list[Part]:
    """Sites whose labels contradict each other."""
    return [(x, y if i < 2 else 1 - y) for i, (x, y) in enumerate(drawn(150, seed=i) for i in range(4))]


def loss_of(rows, parameters: np.ndarray) -> float:  # type: ignore[no-untyped-def]
    return float(rows.gradient(parameters, None)[0])


def test_own_models_are_better_for_sites_that_contradict_each_other() -> None:
    made, sites = build(two_minds())
    strategy = running(ff.Ditto(epochs=3, lr=0.5, pull=0.1), made, 4)
    history = simulate(strategy, made.start(0), sites, 40)
    for site, memory in zip(sites, history.memories, strict=True):
        own = loss_of(site, strategy.personal(history.state, memory))
        assert own < loss_of(site, history.state.parameters) - 0.1
        assert np.abs(strategy.personal(history.state, {}) - history.state.parameters).max() == 0
    bound = simulate(running(ff.Ditto(epochs=3, lr=0.05, pull=10.0), made, 4), made.start(0), sites, 40)
    gap = np.abs(bound.memories[0]["own"] - bound.state.parameters).max()
    assert gap < np.abs(history.memories[0]["own"] - history.state.parameters).max() / 5


def test_heads_stay_with_their_sites() -> None:
    import torch

    made, sites = build(two_minds(), ff.learner("torch", Net))
    strategy = running(ff.SharedBody(head="out", epochs=4, lr=0.5), made, 4)
    history = simulate(strategy, made.start(0), sites, 15)
    body = sum(p.numel() for n, p in Net(8).named_parameters() if not n.startswith("out"))
    assert history.state.parameters.shape == (body,)
    assert strategy.layout.size == body + 3
    losses = [loss_of(s, strategy.personal(history.state, m)) for s, m in zip(sites, history.memories, strict=True)]
    common = simulate(running(ff.FedAvg(epochs=4, lr=0.5), made, 4), made.start(0), sites, 15)
    assert np.mean(losses) < np.mean([loss_of(s, common.state.parameters) for s in sites]) - 0.1
    assert torch.is_tensor(next(iter(Net(8).parameters())))
    with pytest.raises(NotFound, match="no array of the model for SharedBody, head=: 'haed'"):
        running(ff.SharedBody(head="haed"), made, 4)


def Net(inputs: int):  # type: ignore[no-untyped-def]
    import torch

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = torch.nn.Linear(inputs, 6), torch.nn.Linear(6, 1)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return self.out(torch.tanh(self.body(x)))

    return Two()


def test_a_sum_without_weight_is_refused(parts: list[Part]) -> None:
    made, _ = build(parts)
    strategy = running(ff.FedAvg(), made, 5)
    with pytest.raises(Invalid, match="weight 0"):
        strategy.step(strategy.start(made.start(0)), np.zeros(strategy.layout.size), 2)


def test_a_run_is_the_same_again_and_another_seed_is_not(parts: list[Part]) -> None:
    made, sites = build(parts)
    how = ff.FedAvg(epochs=2, batch_size=16)
    first, again, other = (simulate(running(how, made, 5), made.start(0), sites, 3, cohort=3, seed=s) for s in (1, 1, 2))
    assert first.state.parameters.tobytes() == again.state.parameters.tobytes()
    assert first.rounds == again.rounds
    assert first.state.parameters.tobytes() != other.state.parameters.tobytes()


def test_a_cohort_of_more_sites_than_there_are_is_refused(parts: list[Part]) -> None:
    made, sites = build(parts)
    with pytest.raises(Invalid, match="cohort=6 of 5 sites"):
        simulate(running(ff.FedAvg(), made, 5), made.start(0), sites, 1, cohort=6)


def test_a_run_ends_when_it_is_told_to(parts: list[Part]) -> None:
    made, sites = build(parts)
    history = simulate(running(ff.FedAvg(lr=1.0), made, 5), made.start(0), sites, 50, until=lambda r: r.loss < 0.6)
    assert 1 < len(history.rounds) < 50
    assert history.rounds[-1].loss < 0.6 <= history.rounds[-2].loss
