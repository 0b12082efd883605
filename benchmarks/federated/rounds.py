"""Rounds against the plain loop: `python benchmarks/federated/rounds.py [--rounds N] [--repeat N]`.

The same sites, batches and steps on both sides, interleaved in one process, medians of each; 10 and 100 sites of 120
rows, 20 features, 5 epochs of batches of 20 rows a round:

- `logistic`: our simulation against a loop in numpy that holds nothing but the arithmetic;
- `mlp`: a torch module of 40-32-1 (flags of null are inputs too) against that loop over it, and against one in numpy;
- `secure` and `private`: the simulation of `logistic` with every contribution encoded to 16 bits, added modulo R and
  decoded, without and with noise (the modular sum itself is left to the secure sum's own benchmark).

Both sides' models are compared before anything is timed. Writes benchmarks/results/federated_rounds.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fivefold as ff
from fivefold.federated.adding import encoded
from fivefold.federated.contribution import Terms
from fivefold.federated.encoding.plan import exact_plan
from fivefold.federated.learners import trainable
from fivefold.federated.privacy.noise import private_plan, terms_under
from fivefold.federated.simulation import simulate
from fivefold.federated.strategies import running
from fivefold.models.formats.linear import Columns

RESULT = Path(__file__).parent.parent / "results" / "federated_rounds.json"
ROWS, FEATURES, EPOCHS, BATCH, LR, HIDDEN = 120, 20, 5, 20, 0.1, 32
HOW = ff.FedAvg(epochs=EPOCHS, batch_size=BATCH, lr=LR)
COLUMNS = Columns((0.0,) * FEATURES, (1.0,) * FEATURES, (False,) * FEATURES, (-1,) * FEATURES)
Part = tuple[np.ndarray, np.ndarray]


def sites_of(count: int) -> list[Part]:
    truth = np.random.default_rng(0).normal(size=FEATURES)
    parts = []
    for i in range(count):
        x = np.random.default_rng([1, i]).normal(size=(ROWS, FEATURES))
        parts.append((x, (x @ truth + np.random.default_rng([2, i]).logistic(size=ROWS) > 0).astype(float)))
    return parts


def order_of(site: int, rounds: int) -> list[np.ndarray]:
    """The orders of rows that the simulation draws: one random stream a site."""
    random = np.random.default_rng([0, 1, site])
    return [random.permutation(ROWS) for _ in range(rounds * EPOCHS)]


def loop(
    parts: list[Part], orders: list[list[np.ndarray]], rounds: int, step: Callable[..., Any], start: np.ndarray
) -> Any:
    """Federated averaging with nothing around it; all sites have as many rows."""
    w = start
    for r in range(rounds):
        total = np.zeros_like(w)
        for (x, y), order in zip(parts, orders, strict=True):
            at = w.copy()
            for epoch in range(EPOCHS):
                rows = order[r * EPOCHS + epoch]
                for first in range(0, ROWS, BATCH):
                    batch = rows[first : first + BATCH]
                    at -= LR * step(at, x[batch], y[batch])
            total += at - w
        w = w + total / len(parts)
    return w


def logistic_step(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-(x @ w))) - y) @ x / len(y)


def mlp_step(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Backpropagation by hand through tanh, float32 as the module; `w` is laid out as the module's parameters."""
    a = w[: HIDDEN * 2 * FEATURES].reshape(HIDDEN, 2 * FEATURES)
    b, c, d = w[a.size : a.size + HIDDEN], w[a.size + HIDDEN : -1], w[-1]
    hidden = np.tanh(x @ a.T + b)
    slope = (1 / (1 + np.exp(-(hidden @ c + d))) - y) / len(y)
    back = np.outer(slope, c) * (1 - hidden * hidden)
    return np.concatenate([(back.T @ x).ravel(), back.sum(axis=0), slope @ hidden, [slope.sum()]])


def module(inputs: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(inputs, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, 1))


def torch_loop(made: Any, parts: list[Part], orders: list[list[np.ndarray]], rounds: int) -> np.ndarray:
    """The loop as one writes it in torch: a module, an optimiser a site and round, averaged parameters."""
    net = made.module
    held = [(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))) for x, y in parts]
    w = torch.from_numpy(made.start(0).astype(np.float32))
    for r in range(rounds):
        total = torch.zeros_like(w)
        for (x, y), order in zip(held, orders, strict=True):
            torch.nn.utils.vector_to_parameters(w.clone(), net.parameters())
            optimiser = torch.optim.SGD(net.parameters(), lr=LR)
            for epoch in range(EPOCHS):
                rows = order[r * EPOCHS + epoch]
                for first in range(0, ROWS, BATCH):
                    batch = rows[first : first + BATCH]
                    optimiser.zero_grad()
                    out = net(x[batch]).reshape(BATCH)
                    torch.nn.functional.binary_cross_entropy_with_logits(out, y[batch]).backward()
                    optimiser.step()
            total += torch.nn.utils.parameters_to_vector(net.parameters()).detach() - w
        w = w + total / len(parts)
    return w.double().numpy()


def sides(count: int, rounds: int) -> dict[str, Callable[[], np.ndarray]]:
    parts = sites_of(count)
    orders = [order_of(i, rounds) for i in range(count)]
    linear = trainable(ff.learner("logistic", l2=0.0), COLUMNS, "binary", total=count * ROWS)
    net = trainable(ff.learner("torch", module), COLUMNS, "binary", total=count * ROWS)
    ones = [(np.column_stack([np.ones(ROWS), x]), y) for x, y in parts]
    flags = [(np.column_stack([x, np.zeros_like(x)]), y) for x, y in parts]
    terms = Terms(total=count * ROWS, reach=1.0)
    dp = ff.DP(3, 1e-5, unit="client")

    def ours(model: Any, **more: Any) -> np.ndarray:
        held = [model.rows(x, y) for x, y in parts]
        return simulate(running(HOW, model, count), model.start(0), held, rounds, **more).state.parameters

    layout = running(HOW, linear, count).layout
    exact = exact_plan(layout, 1.0, bits=16, cohort=count, min_survivors=count, seed=b"")
    private = private_plan(layout, dp, terms_under(dp, count * ROWS), LR, releases=rounds, cohort=count,
                           min_survivors=count, central=False, seed=b"").plan  # fmt: skip
    return {
        "logistic": lambda: ours(linear),
        "logistic_loop": lambda: loop(ones, orders, rounds, logistic_step, np.zeros(FEATURES + 1)),
        "secure": lambda: ours(linear, terms=terms, add=encoded(lambda t, s: exact)),
        "private": lambda: ours(linear, terms=terms_under(dp, count * ROWS), add=encoded(lambda t, s: private)),
        "mlp": lambda: ours(net),
        "mlp_torch_loop": lambda: torch_loop(net, parts, orders, rounds),
        "mlp_numpy_loop": lambda: loop(flags, orders, rounds, mlp_step, net.start(0)),
    }


def compared(made: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
    """How far the models of both sides are apart after all rounds. Raises where that is more than rounding."""
    found = {name: call() for name, call in made.items()}
    apart = {
        "logistic": float(np.abs(found["logistic"] - found["logistic_loop"]).max()),
        "secure": float(np.abs(found["secure"] - found["logistic_loop"]).max()),
        "mlp_torch": float(np.abs(found["mlp"] - found["mlp_torch_loop"]).max()),
        "mlp_numpy": float(np.abs(found["mlp"] - found["mlp_numpy_loop"]).max()),
    }
    limits = {"logistic": 1e-9, "secure": 1e-2, "mlp_torch": 1e-4, "mlp_numpy": 1e-4}
    wrong = {name: value for name, value in apart.items() if value > limits[name]}
    if wrong:
        raise SystemExit(f"the sides do different work: {wrong}")
    return apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "command": "python " + " ".join(["benchmarks/federated/rounds.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_before": os.getloadavg(),
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "torch")},
        "rounds": options.rounds,
        "repeat": options.repeat,
    }
    for count in (10, 100):
        made = sides(count, options.rounds)
        apart = compared(made)
        seconds: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(options.repeat):
            for name, call in made.items():
                began = time.perf_counter()
                call()
                seconds[name].append((time.perf_counter() - began) / options.rounds)
        median = {name: statistics.median(values) for name, values in seconds.items()}
        pairs = {
            "logistic_to_loop": ("logistic", "logistic_loop"),
            "secure_to_loop": ("secure", "logistic_loop"),
            "private_to_loop": ("private", "logistic_loop"),
            "mlp_to_torch_loop": ("mlp", "mlp_torch_loop"),
            "mlp_to_numpy_loop": ("mlp", "mlp_numpy_loop"),
        }
        report[f"{count}_sites"] = {
            "apart": apart,
            "seconds_a_round": median,
            "spread_s": {name: [min(values), max(values)] for name, values in seconds.items()},
            "ratios": {
                name: statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))
                for name, (one, other) in pairs.items()
            },
        }
        print(count, json.dumps(report[f"{count}_sites"]["ratios"]), json.dumps(median))
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
