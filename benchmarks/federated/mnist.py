"""Rounds to 97 % on MNIST, as in table 1 of McMahan et al. 2017:

    python benchmarks/federated/mnist.py --data DIR [--seeds N] [--kind iid|non-iid] [--rounds N]

The network of the paper (784-200-200-10, ReLU; 199,210 parameters), 100 sites of 600 images, 10 of them a round,
batches of 10, one epoch. IID: images shuffled. Non-IID: sorted by digit, two shards of 300 a site. The paper tuned the
step of each cell; here it is 0.1 throughout. `DIR` is a git directory of the public repository rasbt/mnist-pngs, which
holds all 70,000 images as PNG; nothing of it is copied. Writes benchmarks/results/federated_mnist.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import fivefold as ff
from fivefold.federated.contribution import Layout
from fivefold.federated.learners.dense import DenseRows, Layer
from fivefold.federated.simulation import simulate
from fivefold.federated.strategies import State, running
from fivefold.models.fitted import Fitted

RESULT = Path(__file__).parent.parent / "results" / "federated_mnist.json"
SITES, COHORT, GOAL, MOST = 100, 10, 0.97, 1000
PAPER = {"iid": 87, "non-iid": 664}
HOW = ff.FedAvg(epochs=1, batch_size=10, lr=0.1)


def images(repository: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `(n, 784)` in 0 to 1, and digits, in the order of the index."""
    git = ["git", "--git-dir", str(repository)]
    listed = subprocess.run([*git, "ls-tree", "-r", "HEAD", part + "/"], capture_output=True, text=True, check=True)
    entries = [line.split() for line in listed.stdout.splitlines() if line.endswith(".png")]
    asked = "\n".join(entry[2] for entry in entries).encode() + b"\n"
    told = subprocess.run([*git, "cat-file", "--batch"], input=asked, capture_output=True, check=True).stdout
    pixels, at = np.empty((len(entries), 784), dtype=np.float32), 0
    for i in range(len(entries)):
        line = told.index(b"\n", at)
        size = int(told[at:line].split()[2])
        with Image.open(io.BytesIO(told[line + 1 : line + 1 + size])) as image:
            pixels[i] = np.asarray(image, dtype=np.float32).ravel() / 255
        at = line + size + 2
    return pixels.astype(np.float64), np.array([float(entry[3].split("/")[1]) for entry in entries])


class Network:
    """The paper's network as the learner of dense layers has it; pixels have no nulls, and so no flags of them."""

    layers = (Layer(784, 200, "relu"), Layer(200, 200, "relu"), Layer(200, 10, ""))
    layout = Layout(("parameters",), ((sum((layer.inputs + 1) * layer.outputs for layer in layers),),))

    def start(self, seed: int) -> np.ndarray:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = [torch.nn.Linear(layer.inputs, layer.outputs) for layer in self.layers]
        return np.concatenate([p.detach().double().numpy().ravel() for one in made for p in one.parameters()])

    def rows(self, x: np.ndarray, y: np.ndarray) -> DenseRows:
        return DenseRows(self.layers, x, y, "multiclass", 0.0)

    def fitted(self, parameters: np.ndarray) -> Fitted:
        raise NotImplementedError("nothing is served of this benchmark")


def shares(y: np.ndarray, kind: str, seed: int) -> list[np.ndarray]:
    """The rows of each site."""
    random = np.random.default_rng([seed, 7])
    if kind == "iid":
        return np.array_split(random.permutation(len(y)), SITES)
    shards = np.array_split(np.argsort(y, kind="stable"), 2 * SITES)
    order = random.permutation(2 * SITES)
    return [np.concatenate([shards[order[2 * i]], shards[order[2 * i + 1]]]) for i in range(SITES)]


def right(parameters: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The share of images whose digit is the likeliest."""
    values, at = x, 0
    for layer in Network.layers:
        size = layer.inputs * layer.outputs
        values = values @ parameters[at : at + size].reshape(layer.outputs, layer.inputs).T
        values += parameters[at + size : at + size + layer.outputs]
        at += size + layer.outputs
        if layer.function:
            values = np.maximum(values, 0.0)
    return float(np.mean(values.argmax(axis=1) == y))


def one(kind: str, seed: int, rounds: int, train: tuple[Any, Any], test: tuple[Any, Any]) -> dict[str, Any]:
    x, y = train
    model = Network()
    sites = [model.rows(x[mine], y[mine]) for mine in shares(y, kind, seed)]
    reached: list[float] = []

    def watch(state: State) -> float:
        reached.append(right(state.parameters, *test))
        if state.round % 10 == 0:
            print(kind, seed, state.round, f"{reached[-1]:.4f}", f"best {max(reached):.4f}", flush=True)
        return reached[-1]

    began = time.perf_counter()
    history = simulate(
        running(HOW, model, SITES),
        model.start(seed),
        sites,
        rounds,
        cohort=COHORT,
        seed=seed,
        watch=watch,
        until=lambda r: r.measured is not None and r.measured >= GOAL,
    )
    done = len(history.rounds)
    return {
        "kind": kind,
        "seed": seed,
        "rounds_to_goal": done if reached[-1] >= GOAL else None,
        "rounds": done,
        "best": max(reached),
        "seconds_a_round": (time.perf_counter() - began) / done,
        "paper": PAPER[kind],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kind", choices=list(PAPER))
    parser.add_argument("--rounds", type=int, default=MOST)
    options = parser.parse_args()
    train, test = images(options.data, "train"), images(options.data, "test")
    report: dict[str, Any] = {
        "command": "python benchmarks/federated/mnist.py " + " ".join("DIR" if "/" in a else a for a in sys.argv[1:]),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "torch")},
        "images": {"train": len(train[1]), "test": len(test[1])},
        "parameters": Network.layout.size,
        "strategy": repr(HOW),
        "runs": [],
    }
    for kind in [options.kind] if options.kind else PAPER:
        for seed in range(options.seeds):
            report["runs"].append(one(kind, seed, options.rounds, train, test))
            # some of them take half an hour: what is done is kept
            RESULT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
