"""What no view got is kept as it came, with its reason, and counts once however often it is sent again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stream_project as sp

from fivefold.core.config import environment, settings
from fivefold.core.errors import Invalid, NotFound
from fivefold.core.sources import Stream
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.streams.dead_letters import dead_letters, replay
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace
from fivefold.workspace.workspace import wall_clock

DAY = 1440 * sp.MINUTE


def event(name: str, at: int, amount: float | None = 5.0) -> sp.Event:
    return {"event_id": name, "who": "c1", "shop": 1, "at": at, "nth": None, "amount": amount, "kind": "a"}


def sales(workspace: Workspace) -> Stream:
    found = workspace.project.get(Stream.kind, "sales")
    assert isinstance(found, Stream)
    return found


def worked(workspace: Workspace) -> dict[str, int]:
    with Streaming(workspace) as streaming:
        streaming.drain()
        (report,) = streaming.reports()
    standings = report.standings.values()
    return {name: sum(getattr(s, name) for s in standings) for name in ("read", "on_time", "late", "dead", "duplicate")}


def test_each_reason_keeps_the_bytes_and_counts_reconcile(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 5))
    now = sp.START + 3 * DAY
    poison = b'{"event_id": "x", "at": \xff}'
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        future = workspace.clock() + 2 * DAY
        sp.send(workspace, [
            event("a", now), poison, event("b", now - 31 * sp.MINUTE), event("c", now - 30 * sp.MINUTE),
            event("a", now), event("d", now, 1000.0), event("e", future), event("f", now + 1),
        ])
        counts = worked(workspace)
        store = workspace.online()
        found = [d.letter for d in dead_letters(store, "sales")]
        invalid = [d.letter for d in dead_letters(store, "sales", reasons=["invalid"])]
        store.close()
    assert counts == {"read": 8, "on_time": 2, "late": 1, "dead": 4, "duplicate": 1}
    assert [(x.offset, x.reason) for x in found] == [
        (1, "undecodable"), (2, "too_late"), (5, "invalid"), (6, "in_future")]
    assert found[0].value == poison
    assert "30m late is allowed" in found[1].message
    assert "'amount < 1000'" in invalid[0].message
    assert "amount = 1000.0" in invalid[0].message
    assert json.loads(found[3].value)["event_id"] == "e"


def test_a_letter_is_sent_again_once_and_counts_once(tmp_path: Path) -> None:
    sp.make(tmp_path, sp.events(1, 5))
    now = sp.START + 3 * DAY
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        sp.send(workspace, [event("a", now), event("big", now, 5000.0), event("bigger", now, 7000.0)])
        assert worked(workspace)["dead"] == 2
    # the check was too strict: it is mended, and the letters sent again
    project = (tmp_path / "project.py").read_text()
    (tmp_path / "project.py").write_text(project.replace("amount < 1000", "amount < 6000"))
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        assert replay(workspace, sales(workspace)) == 2
        assert replay(workspace, sales(workspace)) == 0
        assert worked(workspace) == {"read": 5, "on_time": 2, "late": 0, "dead": 3, "duplicate": 0}
        with pytest.raises(NotFound, match=r"0:17.*dead-letters list"):
            replay(workspace, sales(workspace), [(0, 17)])
        store = workspace.online()
        (again,) = [d for d in dead_letters(store, "sales") if d.letter.replayed is None]
        store.close()
        assert replay(workspace, sales(workspace), [(0, again.letter.offset)]) == 1
        assert worked(workspace)["dead"] == 4


def test_a_replay_that_was_killed_before_it_was_noted_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fivefold.realtime.streams import dead_letters as module

    sp.make(tmp_path, sp.events(1, 5))
    now = sp.START + 3 * DAY
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        without_id = {**event("a", now, 5000.0), "event_id": None}
        sp.send(workspace, [event("z", now), without_id])
        assert worked(workspace)["dead"] == 1
    project = (tmp_path / "project.py").read_text()
    (tmp_path / "project.py").write_text(project.replace("amount < 1000", "amount < 6000"))
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_note", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                replay(workspace, sales(workspace))
        assert replay(workspace, sales(workspace)) == 1
        assert worked(workspace) == {"read": 4, "on_time": 2, "late": 0, "dead": 1, "duplicate": 1}


def test_letters_are_kept_for_so_long_and_removed_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fivefold.realtime.streams import worker

    monkeypatch.setattr(worker, "_LETTERS_SWEPT", 2)
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.0)
    sp.make(tmp_path, sp.events(1, 5), '[default]\ndead_letters = "10d"\n')

    def left(days: int, steps: int) -> list[int]:
        with sp.opened(tmp_path, clock=lambda: wall_clock() + days * DAY) as workspace:
            with Streaming(workspace) as streaming:
                for _ in range(steps):
                    streaming.step()
            store = workspace.online()
            found = [d.letter.offset for d in dead_letters(store, "sales")]
            store.close()
            return found

    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        sp.send(workspace, [b"poison"] * 5)
    assert left(0, 1) == [0, 1, 2, 3, 4]
    assert left(9, 2) == [0, 1, 2, 3, 4]
    assert left(11, 1) == [2, 3, 4]
    with sp.opened(tmp_path) as workspace:
        sp.send(workspace, [event("a", sp.START + 3 * DAY), b"poison"])
    # with a commit of events as well
    assert left(11, 1) == [4, 6]
    assert left(11, 2) == []
    with sp.opened(tmp_path) as workspace:
        assert worked(workspace) == {"read": 7, "on_time": 1, "late": 0, "dead": 6, "duplicate": 0}


def test_how_long_letters_are_kept_is_the_environments_matter() -> None:
    assert environment(settings(""), "dev", {}).letters_for == 30 * DAY
    assert environment(settings('[default]\ndead_letters = ""'), "dev", {}).letters_for is None
    with pytest.raises(Invalid, match="environment 'dev', dead_letters: 'long' is not a duration"):
        environment(settings('[default]\ndead_letters = "long"'), "dev", {})
