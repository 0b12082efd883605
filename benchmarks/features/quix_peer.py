"""Five windows by Quix Streams, on the disk (RocksDB); runs in the peer's own environment.

Usage: quix_peer.py ADDRESS TOPIC COUNT FOLDER tumbling|sliding. Prints seconds of wall and CPU, from the first to the
last of COUNT events. No changelog topic is written, which makes it faster than it is by default.
"""

from __future__ import annotations

import json
import sys
import time

import quixstreams.dataframe.windows.aggregations as agg
from quixstreams import Application
from quixstreams.models import TopicConfig

address, topic_name, count, folder, kind = sys.argv[1:6]
HOUR = 3_600_000


class Std(agg.Aggregator):
    def initialize(self) -> list[float]:
        return [0, 0.0, 0.0]

    def agg(self, old, new, timestamp):
        value = new[self.column]
        return [old[0] + 1, old[1] + value, old[2] + value * value]

    def result(self, value):
        n, total, squares = value
        return None if n < 2 else max(0.0, (squares - total * total / n) / (n - 1)) ** 0.5


began: list[float] = []
ended: list[float] = []
seen = 0


def processed(topic: str, partition: int, offset: int) -> None:
    global seen
    if not began:
        began.extend((time.perf_counter(), time.process_time()))
    seen += 1
    if seen == int(count):
        ended.extend((time.perf_counter(), time.process_time()))
        app.stop()


app = Application(
    broker_address=address,
    consumer_group=f"peer-{time.time_ns()}",
    auto_offset_reset="earliest",
    state_dir=folder,
    use_changelog_topics=False,
    loglevel="ERROR",
    on_message_processed=processed,
)
topic = app.topic(
    topic_name,
    value_deserializer="json",
    key_deserializer="str",
    timestamp_extractor=lambda value, headers, timestamp, kind: value["at"] // 1000,
    config=TopicConfig(num_partitions=1, replication_factor=1),
)
sdf = app.dataframe(topic)
for hours, wanted in (
    (1, {"count": agg.Count(), "mean": agg.Mean("delay")}),
    (3, {"mean": agg.Mean("delay")}),
    (24, {"max": agg.Max("delay")}),
    (6, {"std": Std("delay")}),
):
    if kind == "tumbling":
        window = sdf.tumbling_window(duration_ms=hours * HOUR, grace_ms=HOUR)
    else:
        window = sdf.sliding_window(duration_ms=hours * HOUR, grace_ms=HOUR)
    window.agg(**wanted).final()
app.run()
print(json.dumps({"wall": ended[0] - began[0], "cpu": ended[1] - began[1], "events": seen}))
