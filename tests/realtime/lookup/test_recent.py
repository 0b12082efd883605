"""The cache of features: what is made of kept states is what is read, for its time only, and says of what it is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import stream_project as sp
from served_project import END, trained, worked

from fivefold.core.errors import Invalid
from fivefold.core.uses import Endpoint
from fivefold.features.lookup import Lookup
from fivefold.features.recent import FeatureCache
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.protocols.rows import batch_of
from fivefold.realtime.replay.skew import skew
from fivefold.workspace import Workspace

ROWS = [{"who": f"c{n % 7}", "shop": n % 4} for n in range(12)]


class Reads:
    """A store whose reads are counted."""

    def __init__(self, store: Any) -> None:
        self.store, self.count = store, 0

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        self.count += 1
        return list(self.store.get(pairs))


class Pair:
    """The same look-up with a cache, whose clock is held, and without."""

    def __init__(self, workspace: Workspace, **more: Any) -> None:
        from fivefold.workspace.served import champion

        self.now = 0.0
        self.cache = FeatureCache(10.0, clock=lambda: self.now, **more)
        used = champion(workspace, "m")
        self.plain, self.recent = (
            Lookup(used.model, used.schemas, used.scales, used.online_name, cache) for cache in (None, self.cache))
        self.store = Reads(workspace.online())

    def same(self, rows: list[dict[str, Any]], at: int) -> int:
        """They agree; how often the cached one read the store."""
        expected = self.plain.vectors(self.store, rows, at)  # type: ignore[arg-type]
        before = self.store.count
        assert self.recent.vectors(self.store, rows, at) == expected  # type: ignore[arg-type]
        return self.store.count - before


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recent") / "shop"
    trained(folder)
    with sp.opened(folder) as workspace:
        sp.send(workspace, sp.events(2, 100, sp.START + 110 * sp.MINUTE))
        worked(workspace)
    return folder


@pytest.fixture
def workspace(_made: Path, tmp_path: Path) -> Iterator[Workspace]:
    import shutil

    shutil.copytree(_made, tmp_path / "shop")
    with sp.opened(tmp_path / "shop") as opened:
        yield opened


def test_kept_states_answer_for_later_moments_without_a_read(workspace: Workspace) -> None:
    pair = Pair(workspace)
    assert pair.same(ROWS, END) > 0
    pair.same(ROWS, END + 1)
    for later in (2, sp.MINUTE, 47 * sp.MINUTE, 3000 * sp.MINUTE):
        pair.same(ROWS, END + later)
    assert pair.same(ROWS[::-1], END + sp.MINUTE) == 0
    assert pair.same([ROWS[3]], END + sp.MINUTE) == 0
    assert pair.same([{"who": "nobody", "shop": 9}, ROWS[0]], END) == 1
    assert pair.cache.counts()["misses"] == 13
    with pytest.raises(Invalid, match="answers for"):
        pair.recent.vectors(pair.store, ROWS, 0)  # type: ignore[arg-type]


def test_they_are_as_old_as_was_declared_and_no_older(workspace: Workspace) -> None:
    pair = Pair(workspace)
    before = pair.recent.vectors(pair.store, ROWS, END)  # type: ignore[arg-type]
    sp.send(workspace, sp.events(3, 60, sp.START + 300 * sp.MINUTE))
    worked(workspace)
    pair.now, later = 9.99, END + 100 * sp.MINUTE
    kept = pair.recent.vectors(pair.store, ROWS, later)  # type: ignore[arg-type]
    new = pair.plain.vectors(pair.store, ROWS, later)  # type: ignore[arg-type]
    assert kept != new
    assert [v.seen for v in kept] == [v.seen for v in before]  # type: ignore[union-attr]
    pair.now = 10.0
    assert pair.same(ROWS, later) > 0


def test_a_view_that_is_materialised_anew_counts_at_the_next_read(workspace: Workspace) -> None:
    pair = Pair(workspace)
    pair.recent.vectors(pair.store, ROWS, END)  # type: ignore[arg-type]
    materialise_views(workspace, [], sp.START + 90 * sp.MINUTE)
    # whoever is read next brings the new mark
    pair.same([{"who": "nobody", "shop": 9}], END)
    pair.same(ROWS, END)


def test_it_is_bounded(workspace: Workspace) -> None:
    pair = Pair(workspace, most_bytes=12_000)
    for n in range(40):
        pair.same([{"who": f"c{n}", "shop": n}], END)
        assert pair.cache.bytes <= 12_000
    held = pair.cache._held.values()
    assert 0 < len(held) < 40
    assert pair.cache.bytes == sum(kept.size for kept in held)


def test_tiles_that_were_rewritten_are_read_again(workspace: Workspace) -> None:
    sp.send(workspace, sp.events(5, 900, sp.START + 110 * sp.MINUTE, people=1))
    worked(workspace)
    pair, at, rows = Pair(workspace), sp.START + 1850 * sp.MINUTE, ROWS[:1]
    pair.same(rows, at)
    (kept,) = pair.cache._held.values()
    assert kept.tiles
    assert pair.cache.bytes == kept.size > sum(len(raw) for raw in kept.tiles.values() if raw is not None)
    assert pair.same(rows, at) == 0
    kept.tiles = dict.fromkeys(kept.tiles)
    assert pair.same(rows, at) > 0
    assert pair.same(rows, at) == 0


def test_what_was_served_from_it_is_what_history_says(workspace: Workspace) -> None:
    project = workspace.root / "project.py"
    project.write_text(project.read_text().replace('ff.Endpoint("m", model', 'ff.Endpoint("m", model, feature_cache="1h"'))
    with sp.opened(workspace.root) as w:
        store, log = w.online(), PredictionLog(w.state)
        endpoint = w.project.get(Endpoint.kind, "m")
        assert isinstance(endpoint, Endpoint)
        live = Live(w, endpoint, store, log)
        seen = []
        for turn in range(4):
            rows = ROWS[: 3 * (turn + 1)]
            outcome = live.answer(batch_of(rows, live.signature.fields, at=END + turn * sp.MINUTE))
            assert not outcome.errors
            seen.append([v.seen for v in outcome.features if v is not None])
            sp.send(w, sp.events(10 + turn, 30, sp.START + 290 * sp.MINUTE))
            worked(w)
        log.close()
        store.close()
        # the first rows are of the first offsets, those that came later of later ones
        assert seen[3][0] == seen[0][0] != seen[3][-1]
        assert live.feature_cache is not None
        assert live.feature_cache.counts()["hits"] == 3 + 6 + 9
        report = skew(w)
    assert (report.predictions, report.differ, report.left_out) == (30, 0, {})
    assert report.compared > 300
