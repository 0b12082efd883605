"""History = stream = look-up, bit for bit: random events, restarts, archives and new generations, in a real project."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import stream_checks
import stream_project as sp

from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace

SEEDS = [*range(6), *[pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 40)]]


def disturbed(chance: random.Random, rows: list[sp.Event]) -> list[sp.Event | bytes]:
    """The events with duplicates near and far, late ones and poison among them."""
    out: list[sp.Event | bytes] = []
    for row in rows:
        out.append(row)
        match chance.randrange(12):
            case 0:
                out.append(chance.choice(rows[: max(1, rows.index(row))]))
            case 1:
                out.append(chance.choice([b"", b"{", b"\xff\x00", b"[1]", b'{"at": "never"}']))
            case 2:
                out.append({**row, "event_id": None, "at": row["at"] - chance.choice([29, 30, 31, 300]) * sp.MINUTE})
            case 3:
                out.append({**row, "event_id": None, "who": None})
    return out


def over_days(chance: random.Random, rows: list[sp.Event | bytes]) -> list[sp.Event | bytes]:
    """The same, with a day or some between events now and then, and ids that come again after some."""
    out: list[sp.Event | bytes] = []
    later = 0
    for row in rows:
        later += chance.choice([1, 1, 2, 3]) * 1440 * sp.MINUTE if chance.random() < 0.06 else 0
        made = row if isinstance(row, bytes) else {**row, "at": row["at"] + later}
        if chance.random() < 0.15 and not isinstance(made, bytes):
            before = chance.choice([e for e in out if not isinstance(e, bytes)] or [made])
            # what has one id has one key, and so is in one partition
            made = {**made, "event_id": before["event_id"], "who": before["who"]}
        out.append(made)
    return out


@pytest.mark.parametrize("seed", SEEDS)
def test_every_moment_is_answered_as_history_does(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    partitions = chance.randint(1, 3)
    sp.make(tmp_path, sp.events(seed, 60), f'[default]\nstream = "log:.fivefold/streams?partitions={partitions}"\n')
    waiting = disturbed(chance, [*sp.events(seed, 60)[-15:], *sp.events(seed + 1000, 150, sp.START + 50 * sp.MINUTE)])
    if seed % 2:
        waiting = over_days(chance, waiting)
    total = len(waiting)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
    while waiting:
        size = chance.randint(1, 60)
        now, waiting = waiting[:size], waiting[size:]
        with sp.opened(tmp_path) as workspace:
            sp.send(workspace, now)
            _work(workspace, chance)
            if chance.random() < 0.2:
                # a new generation beside the one in use, from what history holds by now
                materialise_views(workspace, [], sp.START)
            _check(workspace, chance)
    with sp.opened(tmp_path) as workspace, Streaming(workspace) as streaming:
        (report,) = streaming.reports()
    standings = report.standings.values()
    assert sum(s.read for s in standings) == total
    assert sum(s.on_time + s.late + s.dead + s.duplicate for s in standings) == total


def _work(workspace: Workspace, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 2)):
        with Streaming(workspace) as streaming:
            streaming.drain()
            if chance.random() < 0.4:
                streaming.archive()


def _check(workspace: Workspace, chance: random.Random) -> None:
    with Streaming(workspace) as streaming:
        streaming.archive()
        (report,) = streaming.reports()
    newest = max(s.newest for s in report.standings.values())
    moments = [newest, newest + 1, newest + chance.randrange(600) * sp.MINUTE]
    stream_checks.assert_no_skew(workspace, [m for m in moments if m > sp.START])
