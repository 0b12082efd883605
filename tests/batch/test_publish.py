from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fivefold.batch.publish import Manifest, alone, begin, generation, publish, published, resolved
from fivefold.core.errors import Conflict, NotFound


def key(number: int) -> str:
    return f"{number:032x}" * 2


def made(folder: Path, number: int, files: int = 3) -> Manifest:
    """Publish a generation whose files all hold its number, as a job does."""
    names = {f"day={i}/part-{number}.txt": "-" for i in range(files)}
    with alone(folder):
        here = generation(folder, key(number))
        begin(folder, here)
        for name in names:
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text(str(number))
        manifest = Manifest(key(number), "j", "m", 1, files, files, 0, names)
        publish(folder, here, manifest)
    return manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "scores"


def test_nothing_is_published_before_the_first_time(folder: Path) -> None:
    assert published(folder) is None
    with pytest.raises(NotFound, match="nothing is published at"):
        resolved(folder)


def test_what_is_published_is_what_was_made(folder: Path) -> None:
    manifest = made(folder, 1)
    assert published(folder) == manifest
    assert {p.read_text() for p in folder.glob("day=*/*.txt")} == {"1"}
    assert resolved(folder) == generation(folder, key(1)).resolve()


def test_a_reader_finds_one_whole_generation_at_any_time(folder: Path) -> None:
    made(folder, 0)
    over = threading.Event()
    seen: set[int] = set()
    wrong: list[Any] = []

    def read() -> None:
        while not over.is_set():
            try:
                here = resolved(folder)
                manifest = msgspec.json.decode((here / "_manifest.json").read_bytes(), type=Manifest)
                found = {(here / name).read_text() for name in manifest.files}
            except FileNotFoundError:
                continue  # the table was published twice since it was resolved
            (number,) = {int(number) for number in found} if len(found) == 1 else (-1,)
            if len(manifest.files) != 3 + number % 4 or manifest.key != key(number):
                wrong.append((found, manifest))
            seen.add(number)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for r in readers:
        r.start()
    for number in range(1, 21):
        made(folder, number, 3 + number % 4)
    over.set()
    for r in readers:
        r.join()
    assert wrong == []
    assert len(seen) > 3


def test_what_was_replaced_stays_until_the_job_runs_again(folder: Path) -> None:
    made(folder, 1)
    reading = resolved(folder)
    made(folder, 2)
    assert {p.read_text() for p in reading.rglob("*.txt")} == {"1"}
    begin(folder, generation(folder, key(3)))
    assert not reading.exists()
    assert {p.read_text() for p in folder.rglob("*.txt")} == {"2"}


def test_no_two_generations_share_a_file_s_name_so_a_stale_listing_is_noticed(folder: Path) -> None:
    made(folder, 1)
    listed = list(folder.glob("day=*/*.txt"))
    made(folder, 2)
    assert not any(p.exists() for p in listed)


@pytest.mark.parametrize("what", ["file", "folder", "link to a folder", "link to nothing", "link to a table of others",
                                  "link to a generation elsewhere"])
def test_what_somebody_else_put_there_is_left_alone(folder: Path, tmp_path: Path, what: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("mine")
    (other / "_manifest.json").write_text('{"not": "ours"}')
    match what:
        case "file":
            folder.write_text("mine")
        case "folder":
            folder.mkdir()
            (folder / "_manifest.json").write_text("{}")
        case "link to a folder" | "link to a table of others":
            folder.symlink_to(other)
        case "link to nothing":
            folder.symlink_to(tmp_path / "nowhere")
        case "link to a generation elsewhere":
            other.rename(other := tmp_path / "far")
            (other / f".scores.{key(7)[:32]}").mkdir()
            folder.symlink_to(other / f".scores.{key(7)[:32]}")
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    with pytest.raises(Conflict, match="was not published by a batch job"):
        published(folder)
    with pytest.raises(Conflict):
        made(folder, 1)
    assert set(before) <= {str(p) for p in tmp_path.rglob("*")}
    assert (other / "precious").read_text() == "mine"


def test_only_generations_of_this_table_are_cleared_away(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    foreign = [".scores.v2." + key(1)[:32], ".scores.backup", ".scoresx." + key(1)[:32], "scores." + key(1)[:32],
               ".scores." + key(1)[:31] + "g", ".other." + key(1)[:32]]
    for name in foreign:
        (folder.parent / name).mkdir()
    (folder.parent / (".scores." + key(5)[:32])).mkdir()
    begin(folder, generation(folder, key(9)))
    assert sorted(p.name for p in folder.parent.iterdir()) == sorted(foreign)


def test_the_name_of_a_table_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / (".sXores." + key(1)[:32])).mkdir()
    made(tmp_path / "s?ores", 1)
    made(tmp_path / "s.ores", 2)
    begin(tmp_path / "s.ores", generation(tmp_path / "s.ores", key(3)))
    assert (tmp_path / (".sXores." + key(1)[:32])).is_dir()
    assert published(tmp_path / "s?ores") is not None


def test_links_planted_in_or_for_a_generation_are_not_followed(folder: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "part-1.txt").write_text("mine")
    (precious / "_manifest.json").write_text("mine")
    here = generation(folder, key(1))
    here.symlink_to(precious)
    made(folder, 1)
    assert not here.is_symlink()
    here = generation(folder, key(2))
    here.mkdir()
    (here / "day=0").symlink_to(precious)
    (here / "_manifest.json").symlink_to(precious / "_manifest.json")
    made(folder, 2)
    assert {p.read_text() for p in precious.iterdir()} == {"mine"}
    assert {p.read_text() for p in folder.glob("day=*/*.txt")} == {"2"}
    assert not any(p.is_symlink() for p in folder.resolve().rglob("*"))


def test_what_a_killed_job_left_in_a_generation_is_not_published(folder: Path) -> None:
    here = generation(folder, key(1))
    (here / "day=0").mkdir(parents=True)
    (here / "day=0" / ".abc.tmp").write_text("half")
    (here / "day=9").mkdir()
    (here / "day=9" / "part-1.txt").write_text("of a partition that is no more")
    manifest = made(folder, 1)
    assert {p.relative_to(folder.resolve()).as_posix() for p in folder.resolve().rglob("*") if p.is_file()} == {
        *manifest.files, "_manifest.json"}


def test_a_generation_that_was_removed_by_hand_is_as_if_nothing_was_published(folder: Path) -> None:
    made(folder, 1)
    for file in resolved(folder).rglob("*.txt"):
        file.unlink()
    here = resolved(folder)
    os.rename(here, here.with_name("elsewhere"))
    assert published(folder) is None
    made(folder, 2)
    assert {p.read_text() for p in folder.glob("day=*/*.txt")} == {"2"}


def test_one_job_waits_for_another(folder: Path) -> None:
    order: list[str] = []

    def other() -> None:
        with alone(folder):
            order.append("other")

    with alone(folder):
        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "other"]
