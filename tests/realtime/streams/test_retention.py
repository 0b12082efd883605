"""Records that the broker removed before they were read are counted, and said; gaps of other kinds are none."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import stream_checks
import stream_project as sp

from fivefold.backends.log.streams import Log
from fivefold.cli.streams import _say
from fivefold.mlops.materialise import materialise_views
from fivefold.ports.streams import Record
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace
from fivefold.workspace.events import Standing

END = sp.START + 400 * sp.MINUTE
SETTINGS = '[default]\nstream = "log:.fivefold/streams?max_bytes=4KB"\n'


def made(folder: Path) -> None:
    sp.make(folder, sp.events(1, 40), SETTINGS)
    with sp.opened(folder) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)


def send(workspace: Workspace, rows: Sequence[sp.Event]) -> None:
    """A few at a time: a log removes what came together."""
    for start in range(0, len(rows), 5):
        sp.send(workspace, rows[start : start + 5])


def worked(workspace: Workspace) -> Standing:
    with Streaming(workspace) as streaming:
        streaming.drain()
        (report,) = streaming.reports()
        assert report.waiting == 0
        streaming.archive()
    return report.standings[0]


def test_what_the_broker_removed_unread_is_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path)
    rows = sp.events(2, 300, sp.START + 30 * sp.MINUTE)
    with sp.opened(tmp_path) as workspace:
        send(workspace, rows[:20])
        assert worked(workspace).lost == 0
        send(workspace, rows[20:])
        with caplog.at_level(logging.WARNING, "fivefold.streaming"):
            standing = worked(workspace)
        assert standing.lost > 100
        assert standing.read + standing.lost == 300
        assert standing.read == standing.on_time + standing.late + standing.dead + standing.duplicate
        assert f"the records 20 to {19 + standing.lost} before they were read: {standing.lost} are lost" in caplog.text
        with Streaming(workspace) as streaming:
            _say(streaming, False)
        assert f"{standing.lost} LOST" in capsys.readouterr().out
        # it stays counted, and what there is is applied
        assert worked(workspace).lost == standing.lost
        stream_checks.assert_no_skew(workspace, [END])


def test_what_was_gone_before_the_stream_was_first_read_is_no_loss_and_what_goes_then_is(tmp_path: Path) -> None:
    made(tmp_path)
    rows = sp.events(2, 450, sp.START + 30 * sp.MINUTE)
    with sp.opened(tmp_path) as workspace:
        send(workspace, rows[:150])
        with Streaming(workspace) as streaming:
            # it is looked at, and stopped before it reads
            streaming._groups[0]._balance()
            begun = streaming.reports()[0].standings[0].applied
            assert begun > 50
        send(workspace, rows[150:])
        standing = worked(workspace)
        assert standing.lost > 100
        assert begun + 1 + standing.lost + standing.read == 450


def test_what_goes_between_a_look_and_the_very_first_read_is_counted(tmp_path: Path) -> None:
    made(tmp_path)
    with sp.opened(tmp_path) as workspace, Streaming(workspace) as streaming:
        streaming._groups[0]._balance()
        send(workspace, sp.events(2, 300, sp.START + 30 * sp.MINUTE))
        streaming.drain()
        standing = streaming.reports()[0].standings[0]
        assert standing.lost > 100
        assert standing.read + standing.lost == 300


def test_gaps_among_the_records_are_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    inner = Log.read

    def compacted(self: Log, *given: Any) -> list[Record]:
        return [r for r in inner(self, *given) if r.offset % 3 == 2]

    monkeypatch.setattr(Log, "read", compacted)
    with sp.opened(tmp_path) as workspace:
        sp.send(workspace, sp.events(2, 30, sp.START + 30 * sp.MINUTE))
        standing = worked(workspace)
        assert (standing.read, standing.lost, standing.applied) == (10, 0, 29)


def test_what_a_store_lost_and_the_archive_holds_is_not_lost(tmp_path: Path) -> None:
    made(tmp_path)
    rows = sp.events(2, 300, sp.START + 30 * sp.MINUTE)
    online = tmp_path / ".fivefold" / "online"
    with sp.opened(tmp_path) as workspace:
        send(workspace, rows[:20])
        worked(workspace)
        shutil.copytree(online, tmp_path / "older")
        for start in range(20, 300, 20):
            send(workspace, rows[start : start + 20])
            assert worked(workspace).lost == 0
        shutil.rmtree(online)
        shutil.move(tmp_path / "older", online)
        standing = worked(workspace)
        assert (standing.applied, standing.lost) == (299, 0)
        # what the archive holds is known by its id
        send(workspace, rows[-5:])
        assert worked(workspace).duplicate == 5
        stream_checks.assert_no_skew(workspace, [END])
