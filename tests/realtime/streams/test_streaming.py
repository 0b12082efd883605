"""A stream's events end in states that answer as history does, on every moment, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import stream_checks
import stream_project as sp

from fivefold.core.errors import Invalid
from fivefold.core.features import FeatureView
from fivefold.features.state.mark import mark_of, partition_space
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace
from fivefold.workspace.events import UNDER_WAY, Standing, standing_of
from fivefold.workspace.served import online_name

END = sp.START + 400 * sp.MINUTE


def test_past_and_stream_together_answer_as_history_does(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 120), '[default]\nstream = "log:.fivefold/streams?partitions=3"\n')
    later = sp.events(2, 200, sp.START + 100 * sp.MINUTE)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        now = sp.START + 121 * sp.MINUTE
        materialise_views(workspace, [], now - 60 * sp.MINUTE)
        # some events of the past are on the broker as well
        sp.send(workspace, [*sp.events(1, 120)[-30:], *later])
        with Streaming(workspace) as streaming:
            assert streaming.drain() == 230
            (report,) = streaming.reports()
            streaming.archive()
        assert report.waiting == 0
        assert sum(s.read for s in report.standings.values()) == 230
        assert sum(s.on_time + s.late + s.dead + s.duplicate for s in report.standings.values()) == 230
        end = sp.START + 305 * sp.MINUTE
        stream_checks.assert_no_skew(workspace, [end, end + 1, end + 45 * sp.MINUTE, end + 20 * 60 * sp.MINUTE])


STREAMS = ["kafka", "redis", "pubsub"]


def settings_of(request: pytest.FixtureRequest, stream: str, folder: Path) -> str:
    """Configuration that puts the stream, and for some the states, elsewhere."""
    if stream == "kafka":
        address, redis = request.getfixturevalue("kafka_server").address, request.getfixturevalue("redis_url")
        topic = f"sales-{os.getpid()}-{time.time_ns()}"
        return f'[default]\nstreams.sales = "kafka://{address}/{topic}?partitions=2"\nonline = "{redis}"\n'
    if stream == "redis":
        postgres = request.getfixturevalue("postgres_url")
        redis = request.getfixturevalue("redis_url")
        return f'[default]\nstream = "{redis}?partitions=2"\nonline = "{postgres}"\n'
    emulator = request.getfixturevalue("pubsub_emulator")
    topic = f"sales-{os.getpid()}-{time.time_ns()}"
    return (f'[default]\nstreams.sales = "pubsub://project-one/{topic}?inbox={folder}/inbox"\n'
            f'options.pubsub.emulator = "{emulator}"\n')


@pytest.mark.parametrize("stream", STREAMS)
def test_another_broker_and_store_by_configuration_alone(request: pytest.FixtureRequest, tmp_path: Path, stream: str) -> None:
    sp.make(tmp_path, sp.events(1, 80), settings_of(request, stream, tmp_path))
    if stream == "pubsub":
        # which keeps order within a key only: between keys, events may come long after younger ones
        project = tmp_path / "project.py"
        project.write_text(project.read_text().replace('lateness="30m"', 'lateness="1d"'))
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        sp.send(workspace, [*sp.events(2, 150, sp.START + 70 * sp.MINUTE), b"\xff poison"])
        with Streaming(workspace) as streaming:
            until = time.monotonic() + 60
            while sum(s.read for s in streaming.reports()[0].standings.values()) < 151 and time.monotonic() < until:
                streaming.step(0.2)
            (report,) = streaming.reports()
            streaming.archive()
        assert sum(s.read for s in report.standings.values()) == 151
        assert sum(s.dead for s in report.standings.values()) == 1
        stream_checks.assert_no_skew(workspace, [END, END + 90 * sp.MINUTE])


def test_a_broker_that_is_stopped_for_a_while_is_gone_on_with(kafka_server: Any, tmp_path: Path) -> None:
    topic = f"stopped-{os.getpid()}-{time.time_ns()}"
    sp.make(tmp_path, sp.events(1, 40),
            f'[default]\nstreams.sales = "kafka://{kafka_server.address}/{topic}?partitions=2"\n')
    rows = sp.events(2, 120, sp.START + 30 * sp.MINUTE)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        sp.send(workspace, rows[:60])
        with worker(tmp_path) as child:
            wait_until(tmp_path, lambda read: read == 60, child)
            kafka_server.stop()
            time.sleep(0.5)
            kafka_server.start()
            sp.send(workspace, rows[60:])
            wait_until(tmp_path, lambda read: read == 120, child)
        with Streaming(workspace) as streaming:
            streaming.archive()
        stream_checks.assert_no_skew(workspace, [END])


WORKER = """
import sys, threading
sys.path.insert(0, sys.argv[2])
import fivefold.realtime.streams.worker as worker
import fivefold.realtime.streams.streaming as streaming
streaming.BALANCE_SECONDS, streaming.ARCHIVE_SECONDS = 0.2, 0.05
from pathlib import Path
from fivefold.workspace import open_workspace
original = worker.PartitionWorker.__init__
def small(self, *words, **more):
    original(self, *words, **{**more, "batch": 3})
worker.PartitionWorker.__init__ = small
with open_workspace(Path(sys.argv[1])) as workspace, streaming.Streaming(workspace) as working:
    print("ready", flush=True)
    working.run(threading.Event())
"""


class worker:
    """A worker process with small batches, until the block ends."""

    def __init__(self, folder: Path) -> None:
        self._child = subprocess.Popen([sys.executable, "-c", WORKER, str(folder), ""], stdout=subprocess.PIPE)

    def __enter__(self) -> subprocess.Popen[bytes]:
        assert self._child.stdout is not None
        self._child.stdout.readline()
        return self._child

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()


def standings(folder: Path) -> list[Standing]:
    with sp.opened(folder) as workspace, Streaming(workspace, member="looking") as streaming:
        (report,) = streaming.reports()
    return list(report.standings.values())


def wait_until(folder: Path, reached: Any, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while not reached(sum(s.read for s in standings(folder))):
        assert child.poll() is None, "the worker ended"
        assert time.monotonic() < until, standings(folder)
        time.sleep(0.1)


@pytest.mark.parametrize("kills", [10, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_killed_again_and_again_is_as_never_killed(tmp_path: Path, kills: int) -> None:
    settings = '[default]\nstream = "log:.fivefold/streams?partitions=2"\n'
    rows = [*sp.events(2, 60 * kills, sp.START + 30 * sp.MINUTE), b"poison"]
    sp.make(tmp_path / "killed", sp.events(1, 40), settings)
    sp.make(tmp_path / "whole", sp.events(1, 40), settings)
    for name in ("killed", "whole"):
        with sp.opened(tmp_path / name) as workspace:
            sp.applied(workspace)
            materialise_views(workspace, [], sp.START)
            sp.send(workspace, rows)
    for n in range(kills):
        with worker(tmp_path / "killed") as child:
            # another moment each time: in the middle of a commit, of an archive, or between them
            time.sleep(0.02 + 0.013 * (n % 11))
            os.kill(child.pid, signal.SIGKILL)
    moment = sp.START + 60 * (kills + 20) * sp.MINUTE
    answers = []
    for name in ("killed", "whole"):
        with sp.opened(tmp_path / name) as workspace:
            with Streaming(workspace) as streaming:
                until = time.monotonic() + 60
                while streaming.reports()[0].waiting and time.monotonic() < until:
                    streaming.step(0.1)
                streaming.archive()
                (report,) = streaming.reports()
            counts = {p: (s.read, s.on_time, s.late, s.dead, s.duplicate) for p, s in report.standings.items()}
            stream_checks.assert_no_skew(workspace, [moment])
            answers.append((counts, stream_checks.looked_up(workspace, moment),
                            stream_checks.looked_up(workspace, moment + 100 * sp.MINUTE)))
    assert answers[0] == answers[1]
    assert sum(c[0] for c in answers[0][0].values()) == len(rows)


def test_two_workers_share_and_one_takes_over_what_a_killed_one_had(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 40), '[default]\nstream = "log:.fivefold/streams?partitions=4"\n')
    rows = sp.events(2, 300, sp.START + 30 * sp.MINUTE, people=12)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        with worker(tmp_path) as first, worker(tmp_path) as second:
            sp.send(workspace, rows[:200])
            wait_until(tmp_path, lambda read: read == 200, first)
            owners = {h.owner for h in workspace.catalog.leases.held("stream:sales:partition:")}
            assert len(owners) == 2
            second.kill()
            second.wait()
            sp.send(workspace, rows[200:])
            wait_until(tmp_path, lambda read: read == 300, first)
        with Streaming(workspace) as streaming:
            streaming.archive()
        stream_checks.assert_no_skew(workspace, [END])


def test_three_share_and_one_that_is_added_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 40), '[default]\nstream = "log:.fivefold/streams?partitions=6"\n')
    rows = [*sp.events(2, 400, sp.START + 30 * sp.MINUTE, people=16), *[b"poison"] * 20]
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)

        def owners() -> list[str]:
            return [h.owner for h in workspace.catalog.leases.held("stream:sales:partition:")]

        with worker(tmp_path) as first, worker(tmp_path) as second, worker(tmp_path):
            sp.send(workspace, rows[:150])
            wait_until(tmp_path, lambda read: read == 150, first)
            until = time.monotonic() + 30
            while sorted(Counter(owners()).values()) != [2, 2, 2]:
                assert time.monotonic() < until, owners()
                time.sleep(0.05)
            # in the middle of its work
            sp.send(workspace, rows[150:300])
            second.kill()
            second.wait()
            dead = set(owners())
            with worker(tmp_path):
                sp.send(workspace, rows[300:])
                wait_until(tmp_path, lambda read: read == 420, first)
                assert len(set(owners()) - dead) <= 1
                assert len(set(owners())) == 3
        with Streaming(workspace) as streaming:
            streaming.archive()
            (report,) = streaming.reports()
        every = report.standings.values()
        assert sum(s.on_time + s.late + s.dead + s.duplicate for s in every) == sum(s.read for s in every) == 420
        assert sum(s.dead for s in every) >= 20
        stream_checks.assert_no_skew(workspace, [sp.START + 600 * sp.MINUTE])


def test_generations_change_while_a_worker_of_another_process_is_at_work(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 40), '[default]\nstream = "log:.fivefold/streams?partitions=2"\n')
    rows = sp.events(2, 300, sp.START + 30 * sp.MINUTE)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        with worker(tmp_path) as child:
            for n in range(5):
                sp.send(workspace, rows[60 * n : 60 * n + 60])
                # it archives all the time, so each has another past, and another cut
                materialise_views(workspace, [], sp.START + n * sp.MINUTE)
                newest = rows[min(60 * n + 60, 299)]["at"]
                assert stream_checks.looked_up(workspace, newest + 1)
            wait_until(tmp_path, lambda read: read == 300, child)
            # what it feeds is the generation that is in use
            wait_for_marks(workspace)
        with Streaming(workspace) as streaming:
            streaming.archive()
        stream_checks.assert_no_skew(workspace, [END, END + 90 * sp.MINUTE])


def wait_for_marks(workspace: Workspace) -> None:
    """Until each view, as the project file means it, has come as far as the intake."""
    names = [online_name(workspace.project, v) for v in workspace.project.of(FeatureView.kind) if isinstance(v, FeatureView)]
    store = workspace.online()
    until = time.monotonic() + 30
    try:
        while True:
            behind = []
            for name in names:
                mark = mark_of(store, name)
                if mark is None:
                    behind.append((name, -1))
                    continue
                for partition in mark.cut:
                    standing = standing_of(store, "sales", partition)
                    held = mark_of(store, partition_space(name, mark, partition))
                    reached = mark.cut[partition] if held is None else held.applied
                    if standing is not None and reached < standing.applied:
                        behind.append((name, partition))
            if not behind:
                return
            assert time.monotonic() < until, behind
            time.sleep(0.1)
    finally:
        store.close()


def test_a_changed_definition_is_taken_up_by_a_running_worker(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 40), '[default]\nstream = "log:.fivefold/streams?partitions=2"\n')
    rows = sp.events(2, 200, sp.START + 30 * sp.MINUTE)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        sp.send(workspace, rows[:100])
    command = [sys.executable, "-m", "fivefold.cli.main", "stream", "--at", "2026-03-01", "--project", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        try:
            wait_until(tmp_path, lambda read: read == 100, child)
            project = tmp_path / "project.py"
            project.write_text(project.read_text().replace('ff.count(over="1h"), ff.sum("amount", over="2h")',
                                                           'ff.count(over="90m"), ff.sum("amount", over="5h")'))
            with sp.opened(tmp_path) as workspace:
                sp.applied(workspace)
                sp.send(workspace, rows[100:])
                wait_until(tmp_path, lambda read: read == 200, child)
                wait_for_marks(workspace)
                with Streaming(workspace) as streaming:
                    streaming.archive()
                stream_checks.assert_no_skew(workspace, [END, END + 90 * sp.MINUTE])
        finally:
            child.terminate()
            assert child.wait(30) == 0


def test_a_look_up_that_is_under_way_for_ten_seconds_is_answered(tmp_path: Path) -> None:
    """What states answer for lags behind the lateness by UNDER_WAY: a moment is named before the store is read."""
    sp.make(tmp_path, sp.events(1, 40))
    lateness, second = 30 * sp.MINUTE, 1_000_000
    first = {**sp.events(2, 1)[0], "at": sp.START + 200 * sp.MINUTE}
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        for n, ahead in enumerate((0, 9 * second, UNDER_WAY)):
            sp.send(workspace, [{**first, "event_id": f"n{n}", "at": first["at"] + ahead}])
            with Streaming(workspace) as streaming:
                streaming.drain()
                streaming.archive()
            # the earliest moment for which all that may still come had come, when the first event had
            stream_checks.assert_no_skew(workspace, [first["at"] - lateness])
        sp.send(workspace, [{**first, "event_id": "last", "at": first["at"] + UNDER_WAY + 1}])
        with Streaming(workspace) as streaming:
            streaming.drain()
        with pytest.raises(Invalid, match="answers for"):
            stream_checks.looked_up(workspace, first["at"] - lateness)
        assert stream_checks.looked_up(workspace, first["at"] - lateness + 1)


def test_events_sent_over_http_reach_the_features(tmp_path: Path) -> None:
    import re

    import httpx

    sp.make(tmp_path, sp.events(1, 40))
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        command = [sys.executable, "-m", "fivefold.cli.main", "serve", "--port", "0", "--project", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                said = next(line for line in server.stdout if "serving on" in line)
                url = re.findall(r"http://[^ ]+", said)[0]
                rows: list[Any] = [{**e, "at": sp.iso(e["at"])} for e in sp.events(2, 50, sp.START + 30 * sp.MINUTE)]
                answer = httpx.post(f"{url}/streams/sales", json=[*rows, {**rows[0], "shop": "no"}])
                assert answer.status_code == 200, answer.text
                assert [row["accepted"] for row in answer.json()["rows"]] == [True] * 50 + [False]
            finally:
                server.terminate()
                server.wait(30)
        with Streaming(workspace) as streaming:
            assert streaming.drain() == 50
            streaming.archive()
        stream_checks.assert_no_skew(workspace, [END])
