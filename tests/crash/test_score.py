"""A job that is killed at any step leaves a whole table, and goes on to the bytes of one that was never killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def reconcile(published: dict[str, bytes]) -> tuple[int, int, int]:
    manifest = json.loads(published["_manifest.json"])
    assert set(published) == {*manifest["files"], "_manifest.json"}
    assert manifest["rows_in"] == manifest["rows_scored"] + manifest["rows_rejected"]
    return manifest["rows_in"], manifest["rows_scored"], manifest["rows_rejected"]


def killed_at(shop: Any, tmp_path: Path, points: list[int], wanted: dict[str, bytes]) -> None:
    before = shop.published()
    for point in points:
        copy = shop.copy(tmp_path / "copy")
        assert copy.run("score", "job", dies_at=point) == -9, point
        left = copy.published()
        assert left in (before, wanted), f"killed at {point}, it left something in between"
        copy.run("score", "job")
        assert copy.published() == wanted, point
        assert sorted(p.name for p in copy.scores.parent.iterdir()) == sorted({
            "scores", ".scores.lock", copy.scores.readlink().name, shop.scores.readlink().name})


def whole_run(shop: Any, tmp_path: Path) -> tuple[int, dict[str, bytes]]:
    whole = shop.copy(tmp_path / "whole")
    steps = whole.run("score", "job")
    wanted = whole.published()
    assert reconcile(wanted) == (60, 56, 4)
    assert wanted != shop.published()
    link = whole.scores.readlink()
    whole.run("score", "job")
    assert (whole.published(), whole.scores.readlink()) == (wanted, link)
    return steps, wanted


def test_killed_at_a_dozen_steps_it_goes_on_to_the_same_bytes(shop: Any, tmp_path: Path) -> None:
    steps, wanted = whole_run(shop, tmp_path)
    # the end, where it publishes, step by step; the chunks before, here and there
    points = sorted({*range(1, steps - 14, steps // 6 + 1), *range(steps - 14, steps + 1, 2)})
    assert len(points) >= 12, steps
    killed_at(shop, tmp_path, points, wanted)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_killed_at_any_step_it_goes_on_to_the_same_bytes(shop: Any, tmp_path: Path) -> None:
    steps, wanted = whole_run(shop, tmp_path)
    killed_at(shop, tmp_path, list(range(1, steps + 1)), wanted)


def test_killed_again_and_again_it_gets_further_and_arrives(shop: Any, tmp_path: Path) -> None:
    steps, wanted = whole_run(shop, tmp_path)
    for point in (steps // 4, steps // 4, steps // 3):
        assert shop.run("score", "job", dies_at=point) == -9
    shop.run("score", "job")
    assert shop.published() == wanted


def test_two_at_once_publish_one_table(shop: Any, tmp_path: Path) -> None:
    _, wanted = whole_run(shop, tmp_path)
    both = [shop.begin("score", "job") for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert shop.published() == wanted
    assert sorted("already" in out for out, _ in said) == [False, True]
