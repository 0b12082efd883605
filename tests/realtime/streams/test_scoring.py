"""Events answered with events: each once, whatever is killed in between, with a dead letter for each that cannot be."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import stream_project as sp

import fivefold as ff
from fivefold.backends.lmdb.online import Lmdb
from fivefold.backends.log.streams import Log
from fivefold.core.errors import Conflict, Invalid, NotFound, Unavailable
from fivefold.core.learning import Model
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.materialise import materialise_views
from fivefold.mlops.train import train
from fivefold.ports.streams import Broker
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.streams.dead_letters import answer_again, dead_letters
from fivefold.realtime.streams.scoring import FROM, Scorer
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace

SCORED = '''
asked = ff.Stream("asked", schema={"ask": str, "who": str, "shop": int}, time="at")
scored = ff.Stream("scored", schema={"ask": str, "who": str, "prediction": float, "prediction_id": str, "version": int},
                   time="predicted_at")
live = ff.Endpoint("m", model, on=asked, into=scored)
'''


def made(folder: Path, settings: str = "") -> None:
    default = '[default]\nstream = "log:.fivefold/streams?partitions=2"\n'
    sp.make(folder, sp.events(1, 120), settings or default)
    project = folder / "project.py"
    project.write_text(project.read_text().replace('live = ff.Endpoint("m", model)\n', SCORED))
    with sp.opened(folder) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START + 130 * sp.MINUTE)
        model = workspace.project.get(Model.kind, "m")
        assert isinstance(model, Model)
        promote(workspace, train(workspace, model, plans.check(workspace).schemas).version)


def topic(workspace: Workspace, name: str) -> Broker:
    stream = workspace.project.get(Stream.kind, name)
    assert isinstance(stream, Stream)
    return workspace.broker(stream)


def asks(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"ask": f"a{n}", "who": f"c{n % 7}", "shop": n % 3, "at": sp.iso(sp.START + n)} for n in range(first, first + count)]


def send(workspace: Workspace, rows: list[Any]) -> None:
    broker = topic(workspace, "asked")
    broker.append([ff_message(row) for row in rows])
    broker.close()


def ff_message(row: Any) -> Any:
    from fivefold.ports.streams import Message

    return Message(row, b"?") if isinstance(row, bytes) else Message(json.dumps(row).encode(), str(row["who"]).encode())


def answers(workspace: Workspace) -> list[dict[str, Any]]:
    broker = topic(workspace, "scored")
    out = []
    for partition in range(broker.partitions()):
        after = -1
        while found := broker.read(partition, after, 1000, 0.3):
            out += [{**json.loads(r.value), "from": dict(r.headers)[FROM], "partition": partition} for r in found]
            after = found[-1].offset
    broker.close()
    return out


def endpoint_of(workspace: Workspace) -> Endpoint:
    found = workspace.project.get(Endpoint.kind, "m")
    assert isinstance(found, Endpoint)
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    made(tmp_path)
    return tmp_path


def test_each_event_is_answered_once_and_what_cannot_be_is_a_dead_letter(shop: Path) -> None:
    with sp.opened(shop) as workspace:
        bad = [b"{", json.dumps({"ask": "x", "who": 3, "shop": 1, "at": sp.iso(sp.START)}).encode()]
        send(workspace, [*asks(30), *bad, *asks(5, 30)])
        with Streaming(workspace) as streaming:
            assert streaming.drain() == 37
            (report,) = streaming.answered()
            assert report.waiting == 0
        found = answers(workspace)
        assert sorted(a["ask"] for a in found) == sorted(f"a{n}" for n in range(35))
        assert {type(a["prediction"]) for a in found} == {float}
        assert len({a["prediction_id"] for a in found}) == 35
        assert {(a["version"], a["who"]) for a in found} == {(1, f"c{n}") for n in range(7)}
        totals = list(report.partitions.values())
        assert sum(p.read for p in totals) == sum(p.answered + p.dead for p in totals) == 37
        store = workspace.online()
        letters = [dead.letter.value for dead in dead_letters(store, "asked", endpoint="m")]
        assert list(dead_letters(store, "asked")) == []
        store.close()
        assert sorted(letters) == sorted(bad)
        command = [sys.executable, "-c", "from fivefold.cli.main import run; run()", "dead-letters", "list", "asked",
                   "--endpoint", "m", "--json", "--project", str(shop)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert {one["reason"] for one in told} == {"undecodable"}
        assert len(told) == 2
        # the answer is the one that a request gets
        store, log = workspace.online(), PredictionLog(workspace.state)
        live = Live(workspace, endpoint_of(workspace), store, log)
        from fivefold.realtime.protocols.rows import batch_of

        outcome = live.answer(batch_of([{"who": "c1", "shop": 1}], live.signature.fields))
        assert outcome.predictions[0] in {a["prediction"] for a in found if a["who"] == "c1"}
        log.close()
        store.close()


def test_killed_between_sending_and_noting_nothing_is_sent_twice(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)
    fails = {"after": 0.3, "before": 0.2, "commit": 0.3}
    append, commit = Log.append_behind, Lmdb.commit

    def sends(self: Log, messages: Any, partition: int, behind: int) -> int:
        if chance.random() < fails["before"]:
            raise Unavailable("it is gone.")
        newest = append(self, messages, partition, behind)
        if chance.random() < fails["after"]:
            raise Unavailable("it is gone.")
        return newest

    def notes(self: Lmdb, writes: Any) -> None:
        if any("#scored" in w.space for w in writes) and chance.random() < fails["commit"]:
            raise Unavailable("it is gone.")
        commit(self, writes)

    with sp.opened(shop) as workspace:
        monkeypatch.setattr(Log, "append_behind", sends)
        monkeypatch.setattr(Lmdb, "commit", notes)
        sent = 0
        for _ in range(12):
            more = chance.randrange(40)
            send(workspace, [*asks(more, sent), b"nonsense"])
            sent += more
            with Streaming(workspace, ["asked"]) as streaming:  # each time anew, as after a kill
                for _ in range(chance.randrange(6)):
                    try:
                        streaming.step()
                    except Unavailable:
                        break
        fails.update(after=0, before=0, commit=0)
        with Streaming(workspace, ["asked"]) as streaming:
            streaming.drain()
            (report,) = streaming.answered()
        found = answers(workspace)
        assert Counter(a["ask"] for a in found) == Counter(f"a{n}" for n in range(sent))
        assert len({(a["partition"], a["from"]) for a in found}) == sent
        totals = list(report.partitions.values())
        assert (sum(p.answered for p in totals), sum(p.dead for p in totals)) == (sent, 12)


def test_of_two_that_believe_it_is_theirs_one_is_refused(shop: Path) -> None:
    with sp.opened(shop) as workspace:
        store, log = workspace.online(), PredictionLog(workspace.state)
        live, endpoint = Live(workspace, endpoint_of(workspace), store, log), endpoint_of(workspace)
        brokers = [topic(workspace, name) for name in ("asked", "scored", "asked", "scored")]
        one = Scorer(endpoint, 0, brokers[0], brokers[1], store, live, batch=5)
        other = Scorer(endpoint, 0, brokers[2], brokers[3], store, live, batch=7)
        send(workspace, asks(60))
        chance = random.Random(1)
        refused = 0
        while one.waiting() or other.waiting():
            chosen = chance.choice([one, other])
            try:
                chosen.step()
            except Conflict:
                refused += 1
                chosen.refresh()
        assert refused > 1
        found = [a for a in answers(workspace) if a["partition"] == 0]
        assert max(Counter(a["ask"] for a in found).values()) == 1
        for broker in brokers:
            broker.close()
        log.close()
        store.close()


def test_nothing_is_set_aside_while_there_is_no_champion(tmp_path: Path) -> None:
    default = '[default]\nstream = "log:.fivefold/streams"\n'
    sp.make(tmp_path, sp.events(1, 30), default)
    project = tmp_path / "project.py"
    project.write_text(project.read_text().replace('live = ff.Endpoint("m", model)\n', SCORED))
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        send(workspace, asks(3))
        with Streaming(workspace, ["asked"]) as streaming:
            with pytest.raises(Unavailable, match="no champion"):
                streaming.step()
            (report,) = streaming.answered()
        assert report.waiting == 3


def test_through_kafka_by_configuration_alone(tmp_path: Path, kafka_server: Any, redis_url: str) -> None:
    name = f"{os.getpid()}-{time.time_ns()}"
    kafka = f"kafka://{kafka_server.address}"
    made(tmp_path, f'[default]\nstream = "log:.fivefold/streams"\nonline = "{redis_url}"\n'
                   f'streams.asked = "{kafka}/asked-{name}?partitions=2"\n'
                   f'streams.scored = "{kafka}/scored-{name}?partitions=2"\n')
    with sp.opened(tmp_path) as workspace:
        for first in (0, 20):
            send(workspace, asks(20, first))
            with Streaming(workspace, ["asked"]) as streaming:
                deadline = time.monotonic() + 30
                while streaming.waiting() and time.monotonic() < deadline:
                    streaming.step(0.2)
        assert Counter(a["ask"] for a in answers(workspace)) == Counter(f"a{n}" for n in range(40))


def killed(shop: Path, kills: int) -> None:
    chance = random.Random(5)
    command = [sys.executable, "-c", "from fivefold.cli.main import run; run()", "stream", "asked", "--project", str(shop)]
    sent = 0
    with sp.opened(shop) as workspace:
        for _ in range(kills):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            end = time.monotonic() + chance.uniform(1.5, 4)
            while time.monotonic() < end:
                send(workspace, asks(20, sent))
                sent += 20
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run([*command, "--once"], check=True, timeout=120, stdout=subprocess.DEVNULL)
        found = answers(workspace)
        assert Counter(a["ask"] for a in found) == Counter(f"a{n}" for n in range(sent))


def test_killed_processes_answer_each_event_once(shop: Path) -> None:
    killed(shop, 3)


@pytest.mark.long
def test_many_killed_processes_answer_each_event_once(shop: Path) -> None:
    killed(shop, 25)


T = ff.Table("t", "t.csv", time="at")
M = ff.Model("m", ff.Target(T, "y"), features=[ff.Request("x", float)], learner=ff.learner("logistic"), split=ff.RandomSplit())
ON = ff.Stream("on", schema={"x": float, "n": int}, time="at")


@pytest.mark.parametrize(("on", "into", "error", "says"), [
    (ON, None, Invalid, "on= and into= belong together"),
    (ON, ON, Invalid, "answer its own answers"),
    (ON, ff.Stream("into", schema={"predictoin": float}, time="at"), NotFound, "Did you mean 'prediction'"),
    (ON, ff.Stream("into", schema={"x": str}, time="at"), Invalid, "the column 'x' is string, and would be filled with float64"),
])
def test_streams_that_do_not_fit_are_refused_by_name(on: Any, into: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ff.Endpoint("e", M, on=on, into=into)


def test_a_whole_number_may_fill_a_float() -> None:
    ff.Endpoint("e", M, on=ON, into=ff.Stream("into", schema={"n": float, "version": float}, time="predicted_at"))


def test_events_that_the_broker_removed_unread_are_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made(tmp_path, '[default]\nstream = "log:.fivefold/streams"\nstreams.asked = "log:.fivefold/small?max_bytes=4KB"\n')
    with sp.opened(tmp_path) as workspace:
        send(workspace, asks(5))
        with Streaming(workspace, ["asked"]) as streaming:
            assert streaming.drain() == 5
        for first in range(5, 600, 5):
            send(workspace, asks(5, first))
        with caplog.at_level("WARNING", "fivefold.streaming"), Streaming(workspace, ["asked"]) as streaming:
            streaming.drain()
            (report,) = streaming.answered()
        (standing,) = report.partitions.values()
        assert standing.lost > 100
        assert standing.lost + standing.read == 600
        assert f"the broker removed {standing.lost} events before they were answered" in caplog.text
        assert len(answers(workspace)) == standing.answered == standing.read


def test_a_label_that_steps_make_answers_an_event(shop: Path) -> None:
    project = shop / "project.py"
    steps = 'steps=[model, ff.Derived("size", "case when m > 0.2 then \'big\' else \'small\' end")]'
    project.write_text(project.read_text().replace('"prediction": float,', '"label": str,').replace(
        "on=asked, into=scored", f"on=asked, into=scored, {steps}"))
    with sp.opened(shop) as workspace:
        send(workspace, asks(12))
        with Streaming(workspace) as streaming:
            assert streaming.drain() == 12
        found = answers(workspace)
    assert len(found) == 12
    assert {a["label"] for a in found} <= {"big", "small"}


def told_letters(workspace: Workspace) -> dict[bytes, bool]:
    """By what came, whether it was answered since."""
    with contextlib.closing(workspace.online()) as store:
        return {d.letter.value: d.letter.replayed is not None for d in dead_letters(store, "asked", endpoint="m")}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Events, by what they ask, that cannot be answered while they are in it."""
    asked: set[str] = set()
    message = Scorer._message

    def fails(self: Scorer, record: Any, event: dict[str, Any], outcome: Any, i: int) -> Any:
        if event["ask"] in asked:
            raise Invalid("not now.")
        return message(self, record, event, outcome, i)

    monkeypatch.setattr(Scorer, "_message", fails)
    return asked


def test_letters_of_an_endpoint_are_answered_again_once(shop: Path, broken: set[str]) -> None:
    with sp.opened(shop) as workspace:
        broken |= {"a3", "a5", "a8"}
        send(workspace, [*asks(10), b"{"])
        with Streaming(workspace, ["asked"]) as streaming:
            streaming.drain()
        bounds = [b.bounds(p) for b in [topic(workspace, "asked")] for p in range(2)]
        endpoint = endpoint_of(workspace)
        assert answer_again(workspace, endpoint) == (0, 4)
        broken.remove("a5")
        with contextlib.closing(workspace.online()) as store:
            places = {d.letter.value: (d.partition, d.letter.offset) for d in dead_letters(store, "asked", endpoint="m")}
        with pytest.raises(NotFound, match="no dead letter 1:999 of asked"):
            answer_again(workspace, endpoint, [(1, 999)])
        five = next(place for value, place in places.items() if b'"a5"' in value)
        assert answer_again(workspace, endpoint, [five]) == (1, 0)
        assert answer_again(workspace, endpoint, [five]) == (0, 0)
        broken.clear()
        assert answer_again(workspace, endpoint, reasons=["undecodable"]) == (0, 1)
        command = [sys.executable, "-c", "from fivefold.cli.main import run; run()", "dead-letters", "replay", "asked",
                   "--project", str(shop), "--endpoint"]
        done = subprocess.run([*command, "m"], check=True, capture_output=True, text=True)
        assert done.stdout == "2 letters answered by m. 1 still cannot be.\n"
        refused = subprocess.run([*command, "n"], capture_output=True, text=True)
        assert refused.returncode == 1
        assert "no endpoint on stream:asked 'n'" in refused.stderr
        assert answer_again(workspace, endpoint) == (0, 1)
        found = answers(workspace)
        assert Counter(a["ask"] for a in found) == Counter(f"a{n}" for n in range(10))
        assert sorted(told_letters(workspace).values()) == [False, True, True, True]
        # nothing was sent to the stream, and the counts reconcile
        assert [b.bounds(p) for b in [topic(workspace, "asked")] for p in range(2)] == bounds
        with Streaming(workspace, ["asked"]) as streaming:
            (report,) = streaming.answered()
        totals = list(report.partitions.values())
        assert (sum(p.read for p in totals), sum(p.answered for p in totals), sum(p.dead for p in totals)) == (11, 10, 1)


@pytest.mark.parametrize("seed", [0, 1, 6, *[pytest.param(n, marks=pytest.mark.long) for n in range(20, 60)]])
def test_killed_at_any_point_and_beside_a_worker_no_letter_is_answered_twice(
    shop: Path, broken: set[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    fails = {"after": 0.3, "before": 0.2, "commit": 0.3}
    append, commit = Log.append_behind, Lmdb.commit

    def sends(self: Log, messages: Any, partition: int, behind: int) -> int:
        if chance.random() < fails["before"]:
            raise Unavailable("it is gone.")
        newest = append(self, messages, partition, behind)
        if chance.random() < fails["after"]:
            raise Unavailable("it is gone.")
        return newest

    def notes(self: Lmdb, writes: Any) -> None:
        if any("#scored" in w.space for w in writes) and chance.random() < fails["commit"]:
            raise Unavailable("it is gone.")
        commit(self, writes)

    with sp.opened(shop) as workspace:
        monkeypatch.setattr(Log, "append_behind", sends)
        monkeypatch.setattr(Lmdb, "commit", notes)
        endpoint, sent = endpoint_of(workspace), 0
        with Streaming(workspace, ["asked"]) as running:  # it goes on all the time, and knows what it knew
            for _ in range(14):
                more = chance.randrange(12)
                broken |= {f"a{n}" for n in range(sent, sent + more) if chance.random() < 0.4}
                send(workspace, asks(more, sent))
                sent += more
                for _ in range(chance.randrange(4)):
                    with contextlib.suppress(Unavailable, Conflict):
                        running.step()
                broken -= {one for one in broken if chance.random() < 0.5}
                with contextlib.suppress(Unavailable):
                    answer_again(workspace, endpoint)
        fails.update(after=0, before=0, commit=0)
        broken.clear()
        with Streaming(workspace, ["asked"]) as streaming:
            streaming.drain()
        answer_again(workspace, endpoint)
        assert all(told_letters(workspace).values())
        assert told_letters(workspace)
        assert Counter(a["ask"] for a in answers(workspace)) == Counter(f"a{n}" for n in range(sent))
        with Streaming(workspace, ["asked"]) as streaming:
            (report,) = streaming.answered()
        totals = list(report.partitions.values())
        assert (sum(p.read for p in totals), sum(p.answered for p in totals), sum(p.dead for p in totals)) == (sent, sent, 0)
