"""Skew is none where nothing went wrong, and every wrong that is planted is found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import stream_project as sp
from served_project import END, served, trained, worked

from fivefold.ports.online import MARK, Write
from fivefold.realtime.lookup.service import FeatureService
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.replay.skew import Skew, skew
from fivefold.workspace.events import EVENTS, intake_space
from fivefold.workspace.predictions import LOOKUPS, log_folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop that served between the events of its stream."""
    trained(tmp_path)
    with sp.opened(tmp_path) as workspace:
        later = sp.events(2, 200, sp.START + 110 * sp.MINUTE)
        for start in range(0, len(later), 50):
            sp.send(workspace, later[start : start + 50])
            worked(workspace)
            served(workspace, later[min(start + 50, len(later)) - 1]["at"] + 21 * sp.MINUTE + start)
    return tmp_path


def found(folder: Path) -> Skew:
    with sp.opened(folder) as workspace:
        return skew(workspace)


def test_what_was_served_between_events_is_what_history_says(shop: Path) -> None:
    report = found(shop)
    assert report.predictions == 160
    assert report.compared == 160 * 17
    assert (report.differ, report.left_out) == (0, {})
    # events that came later do not change what was known then
    with sp.opened(shop) as workspace:
        sp.send(workspace, sp.events(3, 60, sp.START + 300 * sp.MINUTE))
        worked(workspace)
    assert found(shop).differ == 0


def test_an_id_that_comes_again_counts_as_in_the_stream(shop: Path) -> None:
    day = 1440 * sp.MINUTE
    first = {**sp.events(7, 1, sp.START + 310 * sp.MINUTE)[0], "who": "c0"}
    old = next(e for e in sp.events(1, 150) if e["who"] != "c0" and e["shop"])
    again = [
        {**first, "at": first["at"] + day, "amount": 2.0},  # it is known still
        {**first, "at": first["at"] + 2 * day, "amount": 3.0},  # it was forgotten
        # of a row of another entity in the past: known, and forgotten
        {**old, "at": sp.START + day, "who": "c0", "shop": 0},
        {**old, "at": sp.START + 3 * day, "who": "c0", "shop": 0},
    ]
    with sp.opened(shop) as workspace:
        for event in sorted([first, *again], key=lambda e: e["at"]):
            sp.send(workspace, [event])
            worked(workspace)
            # one entity is asked for, and no other is read of the archive
            served(workspace, max(event["at"], END) + 1, count=1)
    report = found(shop)
    assert report.compared == (160 + 5) * 17
    assert (report.differ, report.left_out) == (0, {})


def test_look_ups_of_features_are_checked_as_well(shop: Path) -> None:
    (shop / "fivefold.toml").write_text((shop / "fivefold.toml").read_text() + "lookups_logged = 1.0\n")
    names = ["spending.ever", "latest.last_amount", "nobodys.count_1d"]
    with sp.opened(shop) as workspace:
        store, log = workspace.online(), PredictionLog(workspace.state, kind=LOOKUPS)
        try:
            service = FeatureService(workspace, store, log=log)
            for n in range(20):
                service.get(service.lookup(names), [{"who": f"c{n % 7}", "shop": 1}, {"who": "c0", "shop": 2}], END + n)
        finally:
            log.close()
            store.close()
    report = found(shop)
    assert report.predictions == 160 + 20
    assert report.compared == 160 * 17 + 20 * 3
    assert (report.differ, report.left_out) == (0, {})
    for path in log_folder(shop / ".fivefold", LOOKUPS).glob("*.jsonl"):
        lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        for line in lines:
            line["features"]["nobodys.count_1d"][0] += 1
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert {f.name for f in found(shop).features if f.differ} == {"nobodys.count_1d"}
    # of a view that was changed since, nothing can be said
    (shop / "project.py").write_text((shop / "project.py").read_text().replace('[ff.count(over="1d")])', '[ff.count(over="1d"), ff.count()])'))
    with sp.opened(shop) as workspace:
        sp.applied(workspace)
    report = found(shop)
    assert report.differ == 0
    assert report.left_out == {"nobodys meant something else when it was looked up": 20}


def test_a_state_that_was_changed_by_hand_is_found(shop: Path) -> None:
    with sp.opened(shop) as workspace:
        store = workspace.online()
        for space in [s for s in store.spaces() if s.startswith("latest@") and "/" in s]:
            (mark,) = store.get([(space, MARK)])
            assert mark is not None
            changed = []
            for key, raw in store.scan(space):
                # the newest amount of every customer, one bit off
                at = len(raw) - 16
                changed.append((key, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]))
            store.commit([Write(space, changed, mark, mark)])
        store.close()
        served(workspace, END)
    report = found(shop)
    wrong = {f.name for f in report.features if f.differ}
    assert wrong == {"latest.last_amount"}
    (example, *_) = next(f.examples for f in report.features if f.differ)
    assert example.served != example.history


def test_an_event_that_was_lost_is_found(shop: Path) -> None:
    with sp.opened(shop) as workspace:
        store = workspace.online()
        for space in [s for s in store.spaces() if s.startswith("takings@") and "/" in s]:
            (mark,) = store.get([(space, MARK)])
            assert mark is not None
            store.commit([Write(space, [(key, None) for key, _ in store.scan(space)], mark, mark)])
        store.close()
        served(workspace, END)
    report = found(shop)
    assert {f.name.partition(".")[0] for f in report.features if f.differ} == {"takings"}


def test_an_event_that_is_missing_in_the_archive_is_found(shop: Path) -> None:
    with sp.opened(shop) as workspace:
        store = workspace.online()
        for partition in (0, 1):
            space = intake_space("sales", partition)
            (mark,) = store.get([(space, MARK)])
            assert mark is not None
            store.commit([Write(space, [(key, None) for key, _ in store.scan(space, prefix=EVENTS)][-1:], mark, mark)])
        store.close()
        served(workspace, END)
    assert found(shop).differ > 0


def test_a_moment_that_was_shifted_in_the_log_is_found(shop: Path) -> None:
    for path in log_folder(shop / ".fivefold").glob("*.jsonl"):
        lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        for line in lines:
            line["as_of"] += 60 * sp.MINUTE
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    report = found(shop)
    assert {f.name for f in report.features if f.differ} >= {"spending.count_1h", "takings.count_1h"}
