"""The commands of streams, in processes of their own: send, apply, look at what was set aside, send it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stream_project as sp


def fivefold(*words: str, cwd: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fivefold.cli.main", *words], cwd=cwd, capture_output=True, text=True,
                          input=given, env={**os.environ, "COLUMNS": "200"})


def lines(rows: list[sp.Event]) -> str:
    return "".join(json.dumps({**row, "at": sp.iso(row["at"])}) + "\n" for row in rows)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    sp.make(tmp_path, sp.events(1, 40), '[default]\nstream = "log:.fivefold/streams?partitions=2"\n')
    done = fivefold("apply", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_what_is_pushed_reaches_the_features_and_a_bad_line_is_named(shop: Path) -> None:
    pushed = fivefold("push", "sales", cwd=shop,
                      given=lines(sp.events(2, 60, sp.START + 30 * sp.MINUTE)) + 'nonsense\n{"event_id": 5, "at": "2026-03-01"}\n')
    assert pushed.returncode == 1
    assert "60 events sent to sales, 2 refused" in pushed.stdout
    assert "line 61: an event is an object" in pushed.stderr
    assert "line 62: the field 'event_id' is 5, which is not string" in pushed.stderr
    # two processes share the partitions, each ends when nothing waits
    done = fivefold("stream", "--once", "--workers", "2", "--json", "--at", "2026-03-01T00:00:00Z", cwd=shop)
    assert done.returncode == 0, done.stderr
    assert "the past of" in done.stderr
    reports: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == 2
    assert all(r["waiting"] == 0 for r in reports)
    got = fivefold("get", "spending.ever", "takings.count_1h", "--entity", "who=c1", "--entity", "shop=1",
                   "--at", "2026-03-01T02:00:00Z", "--json", cwd=shop)
    assert got.returncode == 0, got.stderr
    assert '"present"' in got.stdout
    unused = fivefold("get", "nobodys.count_1d", "--entity", "shop=1", "--at", "2026-03-01T02:00:00Z", "--json", cwd=shop)
    assert '"present"' in unused.stdout, unused.stderr
    again = fivefold("stream", "--once", cwd=shop)
    assert "60 read" in again.stdout
    assert "0 waiting" in again.stdout


def test_dead_letters_are_listed_and_sent_again_once(shop: Path) -> None:
    fivefold("push", "sales", cwd=shop, given=lines([{**sp.events(3, 1)[0], "amount": 5000.0}]))
    assert "1 dead letters" in fivefold("stream", "--once", "--at", "2026-03-01", cwd=shop).stdout
    listed: Any = json.loads(fivefold("dead-letters", "list", "sales", "--json", cwd=shop).stdout)
    assert [(x["reason"], x["replayed"]) for x in listed] == [("invalid", None)]
    assert "amount < 1000" in fivefold("dead-letters", "list", "sales", cwd=shop).stdout
    wrong = fivefold("dead-letters", "list", "sales", "--reason", "to_late", cwd=shop)
    assert wrong.returncode == 1
    assert "Did you mean 'too_late'?" in wrong.stderr
    assert "1 letters sent" in fivefold("dead-letters", "replay", "sales", cwd=shop).stdout
    assert "nothing to send" in fivefold("dead-letters", "replay", "sales", cwd=shop).stdout
    unreadable = fivefold("dead-letters", "replay", "sales", "7", cwd=shop)
    assert unreadable.returncode == 1
    assert "PARTITION:OFFSET" in unreadable.stderr


def test_skew_without_predictions_says_so_and_fails(shop: Path) -> None:
    done = fivefold("skew", cwd=shop)
    assert done.returncode == 1
    assert "0 of 0 values of 0 predictions" in done.stdout


def test_a_running_worker_says_how_far_it_is_and_ends_when_told(shop: Path) -> None:
    fivefold("push", "sales", cwd=shop, given=lines(sp.events(2, 30, sp.START + 30 * sp.MINUTE)))
    command = [sys.executable, "-m", "fivefold.cli.main", "stream", "--at", "2026-03-01"]
    with subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        said = next(line for line in worker.stdout if "30 read" in line)
        assert "0 waiting" in said
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert "30 read" in worker.stdout.read()


def test_an_unknown_stream_names_the_nearest(shop: Path) -> None:
    for words in (("stream", "sale"), ("push", "sale"), ("dead-letters", "list", "sale")):
        done = fivefold(*words, cwd=shop)
        assert done.returncode == 1
        assert "Did you mean 'sales'?" in done.stderr
