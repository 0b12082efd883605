"""What the prediction log costs the answers: requests at a fixed rate, with no log, with one, and while files are made.

    python benchmarks/serving/prediction_log.py [--rate 1000] [--seconds 2] [--turns 10]

Rows are answered in the main thread, one at a time, each at its own moment; a latency counts from that moment on, so
that what holds the interpreter up is seen. The three ways take turns; of each figure the least and the median of its
turns are printed, since others use the machine too. Then what `put` takes, and for how long the writer and the maker of
files keep the interpreter at a time (processor time of a chunk).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import thread_time

import msgspec

from fivefold.core.learning import Model
from fivefold.core.uses import Endpoint
from fivefold.demo.start import start
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.materialise import materialise_views
from fivefold.mlops.train import train
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.prediction_log import log as prediction_log
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.prediction_log.segment import lines_of
from fivefold.realtime.protocols.rows import batch_of
from fivefold.workspace import Workspace, open_workspace
from fivefold.workspace.prediction_files import CHUNK, write_files
from fivefold.workspace.predictions import log_folder, newest_predictions

AT = 1_772_000_000_000_000
ROW = {"customer_id": "c1", "amount": 12.5}
BYTES = prediction_log.SEGMENT_BYTES


class NoLog(PredictionLog):
    """Takes entries and forgets them."""

    def put(self, entry: Callable[[], object], id: str = "") -> None:
        pass


def latencies(workspace: Workspace, log: PredictionLog, rate: int, seconds: float) -> list[float]:
    """Microseconds from the moment a row was due until it was answered."""
    endpoint = workspace.project.get(Endpoint.kind, "returned")
    assert isinstance(endpoint, Endpoint)
    store = workspace.online()
    live = Live(workspace, endpoint, store, log, AT)
    out = []
    due = time.perf_counter()
    for _ in range(int(rate * seconds)):
        due += 1 / rate
        while (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        live.answer(batch_of([ROW], live.signature.fields))
        out.append((time.perf_counter() - due) * 1e6)
    log.close()
    store.close()
    return out


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rate", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=2)
    options.add_argument("--turns", type=int, default=10)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder) / "shop", "blank")
        with open_workspace(Path(folder) / "shop") as w:
            checked = plans.check(w)
            apply(w, checked, plans.plan(w))
            model = w.project.get(Model.kind, "returned")
            assert isinstance(model, Model)
            promote(w, train(w, model, checked.schemas).version)
            materialise_views(w, [], AT)
            cuts: dict[str, list[list[float]]] = {}
            for turn in range(given.turns):
                # segments of a few entries: files are made all the time
                ways = (("no log", NoLog, BYTES), ("log", PredictionLog, BYTES), ("files", PredictionLog, 1))
                for name, kind, size in ways:
                    prediction_log.SEGMENT_BYTES = size
                    log = kind(w.state / f"{turn}-{name}")
                    found = statistics.quantiles(latencies(w, log, given.rate, given.seconds), n=1000)
                    cuts.setdefault(name, []).append([found[499], found[989], found[998]])
            for name, turns in cuts.items():
                told = [f"{min(c):6.0f} {statistics.median(c):6.0f}" for c in zip(*turns, strict=True)]
                print(f"{name:8} p50 {told[0]} us   p99 {told[1]} us   p99.9 {told[2]} us")
            shown(w)


def shown(workspace: Workspace) -> None:
    """Print what single steps take."""
    logged = newest_predictions(workspace.state / "0-log", 10_000)
    log = PredictionLog(workspace.state / "put", longest_queue=10**7)
    began = time.perf_counter()
    for one in logged:
        log.put(partial(msgspec.structs.replace, one), one.id)
    print(f"put: {(time.perf_counter() - began) / len(logged) * 1e6:.2f} us")
    log.close()
    encode = msgspec.json.Encoder().encode_lines
    steps = [(thread_time(), encode(logged[n : n + 32]), thread_time()) for n in range(0, len(logged), 32)]
    print(f"writer: {statistics.median(after - before for before, _, after in steps) * 1e6:.0f} us for 32")
    folder = log_folder(workspace.state / "put")
    (segment,) = folder.glob("*.jsonl")
    taken = []
    before = thread_time()
    for _ in write_files(lines_of(segment, CHUNK), folder, segment.stem):
        taken.append(thread_time() - before)
        before = thread_time()
    each = sum(taken) / len(logged)
    print(f"files: {statistics.median(taken) * 1e6:.0f} us for {CHUNK} bytes, {each * 1e6:.0f} us a prediction")


if __name__ == "__main__":
    main()
