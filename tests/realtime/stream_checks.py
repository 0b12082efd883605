"""Look-ups against history, for tests of streams."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

from fivefold.core.features import chosen
from fivefold.core.learning import Model
from fivefold.data.duck import parquet
from fivefold.features.frame import frame
from fivefold.features.lookup import Lookup
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
