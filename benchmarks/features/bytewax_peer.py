"""Five windows by Bytewax, with its recovery store on the disk; runs in the peer's own environment.

Usage: bytewax_peer.py ADDRESS TOPIC COUNT FOLDER tumbling|sliding. Prints seconds of wall and CPU, from the first to
the last of COUNT events. `sliding` windows move in steps of a twelfth of their length: there are no exact ones.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from bytewax.testing import TestingSink
from orjson import loads

address, topic, count, folder, kind = sys.argv[1:6]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
began: list[float] = []
ended: list[float] = []
late = 0


def read(message):
    if not began:
        began.extend((time.perf_counter(), time.process_time()))
    row = loads(message.value)
    return row["place"], (datetime.fromtimestamp(row["at"] / 1e6, UTC), row["delay"])


def add(state, item):
    value = item[1]
    return (state[0] + 1, state[1] + value, state[2] + value * value, max(state[3], value))


def merge(a, b):
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], max(a[3], b[3]))


def at_end(item):
    ended[:] = (time.perf_counter(), time.process_time())
    return item


flow = Dataflow("windows")
source = KafkaSource([address], [topic], tail=False, batch_size=5000)
keyed = op.map("read", op.input("in", flow, source), read)
for name, hours in (("a", 1), ("b", 3), ("c", 24), ("d", 6)):
    length = timedelta(hours=hours)
    windower = (
        win.TumblingWindower(align_to=EPOCH, length=length)
        if kind == "tumbling"
        else win.SlidingWindower(align_to=EPOCH, length=length, offset=length / 12)
    )
    clock = win.EventClock(lambda item: item[0], wait_for_system_duration=timedelta(hours=1))
    start = (0, 0.0, 0.0, float("-inf"))
    out = win.fold_window(name, keyed, clock, windower, lambda s=start: s, add, merge, ordered=False)
    op.output(f"out-{name}", out.down, TestingSink([]))
if __name__ == "__main__":
    Path(folder).mkdir(parents=True)
    init_db_dir(Path(folder), 1)
    cli_main(flow, recovery_config=RecoveryConfig(Path(folder)), epoch_interval=timedelta(seconds=1))
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    print(json.dumps({"wall": wall, "cpu": cpu, "events": int(count)}))
