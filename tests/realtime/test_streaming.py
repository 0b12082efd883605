"""A stream's events end in states that answer as history does, on every moment, whatever happens to the workers."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import stream_project as sp

from fivefold.core.features import FeatureView, chosen
from fivefold.core.learning import Model
from fivefold.data.duck import parquet
from fivefold.features.frame import frame
from fivefold.features.lookup import Lookup
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.streaming import Streaming
from fivefold.workspace import Workspace
from fivefold.workspace.served import online_name


def model_of(workspace: Workspace) -> Model:
    found = workspace.project.get(Model.kind, "m")
    assert isinstance(found, Model)
    return found


def looked_up(workspace: Workspace, at: int, people: int = 7) -> list[dict[str, Any]]:
    schemas = {"past": workspace.snapshot("past").schema}
    lookup = Lookup(model_of(workspace), schemas, workspace.scales(), lambda v: online_name(workspace.project, v))
    store = workspace.online()
    try:
        rows = [{"who": f"c{n}", "shop": n % 4} for n in range(people)]
        found = lookup.vectors(store, rows, at)
    finally:
        store.close()
    out = []
    for vector in found:
        assert not isinstance(vector, Exception), vector
        out.append({n: (bits(v), t) for n, v, t in zip(lookup.names, vector.values, vector.times, strict=True)})
    return out


def history(workspace: Workspace, at: int, people: int = 7) -> list[dict[str, Any]]:
    """The same from the past's snapshot alone."""
    model = model_of(workspace)
    rows = [{"who": f"c{n}", "shop": n % 4} for n in range(people)]
    spine = pa.table({"who": [r["who"] for r in rows], "shop": [r["shop"] for r in rows],
                      "__at": pa.array([at] * people, pa.int64()).cast(pa.timestamp("us"))})
    with workspace.database() as connection:
        table = frame(connection, model, spine, "__at", {"past": workspace.snapshot("past").schema}, workspace.scales(),
                      lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables)), event_times=True)
    names = list(chosen(model.features))
    return [{n: (bits(row[n]), row[f"{n}__time"] and int(row[f"{n}__time"].timestamp() * 1e6 + 0.5)) for n in names}
            for row in table.to_pylist()]


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def assert_no_skew(workspace: Workspace, moments: list[int]) -> None:
    for at in moments:
        assert looked_up(workspace, at) == history(workspace, at)


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
        assert_no_skew(workspace, [end, end + 1, end + 45 * sp.MINUTE, end + 20 * 60 * sp.MINUTE])
        assert isinstance(next(v for v in workspace.project.of("feature_view")), FeatureView)
