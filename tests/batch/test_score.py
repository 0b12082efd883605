from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from fivefold.batch.score import _folder
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.features.frame import frame
from fivefold.lifecycle.release import rollback
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.protocols.rows import batch_of
from fivefold.workspace.served import champion


def read(folder: Path) -> list[dict[str, Any]]:
    files = sorted(p for p in folder.resolve().rglob("*.parquet") if "_rejected" not in p.parts)
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def rejected(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((folder / "_rejected").glob("*.parquet"))
            for row in pq.read_table(file, partitioning=None).to_pylist()]


def lines(count: int) -> list[str]:
    return [f"{i},c{i % 50},2026-02-2{i % 8}T0{i % 10}:00:00,{i * 1.3},{i % 4},s{i % 3}" for i in range(count)]


def test_every_row_is_scored_once_with_key_moment_and_version(shop: Any) -> None:
    made = shop.score()
    rows = read(shop.scores)
    assert (made.new, made.manifest.rows_in, made.manifest.rows_scored, made.manifest.rows_rejected) == (
        True, 100, 100, 0)
    assert sorted(r["basket"] for r in rows) == list(range(100))
    assert set(rows[0]) == {"basket", "customer_id", "asked_at", "prediction", "model_version"}
    assert {r["model_version"] for r in rows} == {1}
    assert len({r["prediction"] for r in rows}) > 50
    for name, digest in made.manifest.files.items():
        assert hashlib.sha256((shop.scores / name).read_bytes()).hexdigest() == digest


def test_again_publishes_nothing_new(shop: Any) -> None:
    before = shop.score()
    link = shop.scores.readlink()
    again = shop.score()
    assert (again.new, again.manifest) == (False, before.manifest)
    assert shop.scores.readlink() == link


def test_what_is_scored_at_a_moment_is_what_is_answered_then_and_what_the_model_says(shop: Any) -> None:
    at = 1_771_934_400_000_000
    shop.baskets([f"{i},{who},2026-02-24T12:00:00,{amount},{i % 5},s" for i, (who, amount) in enumerate(
        (w, a) for w in ["c1", "c2", "c3", "nobody", "c40"] for a in ["", "0", "12.5", "99.99", "-3"])])
    shop.apply()
    shop.score()
    scored = {r["basket"]: r["prediction"] for r in read(shop.scores)}
    with shop.open() as w:
        materialise_views(w, [], at)
        store, log = w.online(), PredictionLog(w.state)
        live = Live(w, w.project.get("endpoint", "returned"), store, log)
        table = pq.read_table(w.snapshot("baskets").files(w.places.tables)[0])
        rows = table.select(["customer_id", "amount", "items"]).to_pylist()
        answered = live.answer(batch_of(rows, live.signature.fields, at=at))
        with w.database() as connection:
            served = champion(w, "returned")
            full = frame(connection, served.model, table, "asked_at", served.schemas, served.scales, lambda n: (
                f"read_parquet({[str(f) for f in w.snapshot(n).files(w.places.tables)]!r})"))
        loaded = served.loaded.predict(full).tolist()
        log.close()
        store.close()
    baskets = table["basket"].to_pylist()
    assert len(scored) == 25
    assert [scored[b] for b in baskets] == answered.predictions == loaded


@pytest.mark.parametrize("chunk_rows", [1, 7, 99, 100, 101])
def test_chunks_do_not_change_a_prediction(shop: Any, chunk_rows: int) -> None:
    whole = {r["basket"]: r["prediction"] for r in (shop.score(), read(shop.scores))[1]}
    shop.score(chunk_rows=chunk_rows)
    assert {r["basket"]: r["prediction"] for r in read(shop.scores)} == whole
    assert len(list(shop.scores.resolve().glob("*.parquet"))) == -(-100 // chunk_rows)


def test_rows_that_cannot_be_scored_are_kept_aside_with_the_reason(shop: Any) -> None:
    shop.baskets([*lines(5), "90,,2026-02-20T00:00:00,1,1,s", "91,c1,,1,1,s", "92,,,1,1,s",
                  f"93,c1,2026-02-20T00:00:00,1,{2**53 + 1},s", "94,c1,2026-02-20T00:00:00,,,"])
    shop.apply()
    made = shop.score()
    assert (made.manifest.rows_in, made.manifest.rows_scored, made.manifest.rows_rejected) == (10, 6, 4)
    assert sorted(r["basket"] for r in read(shop.scores)) == [0, 1, 2, 3, 4, 94]
    reasons = {r["basket"]: r["reason"] for r in rejected(shop.scores)}
    assert reasons.pop(93).startswith("the feature 'items' is 9007199254740993, beyond 2**53")
    assert reasons == {90: "customer_id is null", 91: "asked_at is null", 92: "asked_at is null, customer_id is null"}


@pytest.mark.parametrize("partition", ["", ', partition="shop"'])
@pytest.mark.parametrize("baskets", [[], ["1,,2026-02-20T00:00:00,1,1,s"]])
def test_no_rows_to_score_publish_an_empty_table_with_its_columns(
    shop: Any, partition: str, baskets: list[str]
) -> None:
    shop.edit('ff.Table("scores", "out/scores")', f'ff.Table("scores", "out/scores"{partition})')
    shop.baskets(baskets)
    shop.apply()
    made = shop.score()
    assert (made.manifest.rows_scored, made.manifest.rows_rejected) == (0, len(baskets))
    found = duckdb.sql(f"select * from '{shop.scores.resolve()}/*.parquet'")
    assert found.fetchall() == []
    assert {"basket", "customer_id", "asked_at", "prediction", "model_version"} <= set(found.columns)
    assert ("shop" in found.columns) == bool(partition)
    assert not shop.score().new


def test_a_new_champion_new_rows_or_another_layout_publish_anew(shop: Any) -> None:
    keys = [shop.score().manifest.key]
    shop.baskets(lines(20))
    shop.apply()
    keys.append(shop.score().manifest.key)
    shop.edit("l2=1.0", "l2=2.0")
    shop.apply()
    shop.release()
    keys.append(shop.score().manifest.key)
    shop.edit('"out/scores"', '"out/scores", partition="shop"')
    shop.apply()
    made = shop.score()
    assert made.new
    assert len({*keys, made.manifest.key}) == 4
    assert {r["model_version"] for r in read(shop.scores)} == {2}
    with shop.open() as w:
        rollback(w, "returned")
    assert shop.score().manifest.version == 1


def test_going_back_and_forth_publishes_each_time_what_belongs_there(shop: Any) -> None:
    shop.score()
    first = {p.name: p.read_bytes() for p in shop.scores.resolve().rglob("*.parquet")}
    shop.edit("l2=1.0", "l2=2.0")
    shop.apply()
    shop.release()
    for _ in range(2):
        assert shop.score().manifest.version == 2
        with shop.open() as w:
            rollback(w, "returned")
        assert shop.score().manifest.version == 1
        assert {p.name: p.read_bytes() for p in shop.scores.resolve().rglob("*.parquet")} == first
        with shop.open() as w:
            w.catalog.aliases.move("returned", "champion", 2, expected=1, actor="ann")


def test_a_published_file_that_is_gone_is_made_again(shop: Any) -> None:
    before = shop.score(chunk_rows=30)
    gone = sorted(shop.scores.glob("*.parquet"))[1].resolve()
    body = gone.read_bytes()
    gone.unlink()
    again = shop.score(chunk_rows=30)
    assert (again.new, again.manifest) == (True, before.manifest)
    assert gone.read_bytes() == body


def test_a_source_that_means_something_else_now_is_a_conflict_and_keeps_the_old_table(shop: Any) -> None:
    shop.score()
    before = (shop.scores.readlink(), read(shop.scores))
    shop.edit('id="order_id"', 'id="order_id", delay="1h"')
    with pytest.raises(Conflict, match="returned@1 was trained when table:orders meant something else"):
        shop.score()
    assert (shop.scores.readlink(), read(shop.scores)) == before


def test_changes_that_are_not_applied_are_a_conflict(shop: Any) -> None:
    shop.edit('id="basket"', 'id="basket", delay="1h"')
    with pytest.raises(Conflict, match="changes that are not applied: table:baskets"):
        shop.score()


def test_without_a_champion_it_says_how_to_get_one(shop: Any) -> None:
    with shop.open() as w:
        w.catalog.aliases.move("returned", "champion", None, expected=1, actor="ann")
    with pytest.raises(NotFound, match="no champion yet"):
        shop.score()


def test_a_partition_column_that_is_not_there_is_named(shop: Any) -> None:
    shop.edit('"out/scores"', '"out/scores", partition="shopp"')
    shop.apply()
    with pytest.raises(NotFound, match=r"table:scores.*'shopp'.*Did you mean 'shop'"):
        shop.score()
    assert not shop.scores.exists()


def test_a_table_at_a_url_is_refused(shop: Any) -> None:
    shop.edit('"out/scores"', '"s3://bucket/scores"')
    with pytest.raises(Invalid, match="published to folders, not to 's3://bucket/scores'"):
        shop.score()


def test_when_a_job_fails_what_was_published_stays(shop: Any) -> None:
    shop.edit('"out/scores"', '"out/scores", partition="shop"')
    shop.apply()
    shop.score()
    before = read(shop.scores)
    shop.baskets([*lines(40), f"41,c1,2026-02-20T00:00:00,1,1,{'y' * 300}"])
    shop.apply()
    with pytest.raises(Invalid, match=r"the partition shop='yyy.*makes a folder's name of 305 bytes"):
        shop.score(chunk_rows=10)
    assert read(shop.scores) == before
    shop.baskets(lines(40))
    shop.apply()
    assert shop.score(chunk_rows=10).manifest.rows_scored == 40


def test_the_command_line_says_what_came_of_it(shop: Any) -> None:
    program = "import sys; root = sys.argv.pop(1); sys.argv += ['--project', root]; " \
        "from fivefold.cli.main import run; run()"
    first = shop.process(program, "score", "job", "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["new"] is True
    second = shop.process(program, "score", "job")
    assert second.stdout == (
        f"job was published from the same inputs already: 100 rows in {shop.scores}.\n")


def test_another_environment_publishes_to_a_place_of_its_own(shop: Any) -> None:
    with shop.open() as dev:
        (job,) = dev.project.of("batch_job")
        elsewhere = msgspec.structs.replace(dev.env, name="prod", state=".fivefold/env-prod")
        prod = msgspec.structs.replace(dev, env=elsewhere)
        assert _folder(dev, job) == dev.root.resolve() / job.into.url
        assert _folder(prod, job) == prod.state.resolve() / job.into.url
        named = msgspec.structs.replace(elsewhere, tables={job.into.name: "shared/scores"})
        assert _folder(msgspec.structs.replace(dev, env=named), job) == dev.root.resolve() / "shared" / "scores"
