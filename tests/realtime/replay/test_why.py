"""`why` says where a prediction came from, and its replay is equal to the bit unless something was changed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
import stream_project as sp
from served_project import END, served, trained, worked

from fivefold.core.errors import Invalid, NotFound, Unavailable
from fivefold.lifecycle.release import rollback
from fivefold.realtime.prediction_log.files import LogFiles
from fivefold.realtime.replay.recompute import Replay, replay
from fivefold.realtime.replay.why import why
from fivefold.workspace.predictions import (
    LOOKUPS,
    Prediction,
    find_prediction,
    log_folder,
    newest_predictions,
    read_predictions,
)


def rolled(state: Path, kind: str = "predictions") -> None:
    LogFiles(log_folder(state, kind)).roll(lambda: False)
    assert not list(log_folder(state, kind).glob("*.jsonl"))


def changed(was: Prediction, /, **more: Any) -> Prediction:
    return msgspec.structs.replace(was, **more)


@pytest.fixture
def asked(shop: Any, row: dict[str, Any]) -> tuple[Any, str]:
    with shop.app() as asker:
        status, found = asker.ask(row)
        assert status == 200
    return shop, found["rows"][0]["id"]


def test_it_names_version_approver_run_code_data_and_values(asked: tuple[Any, str]) -> None:
    shop, id = asked
    with shop.open() as w:
        told = why(w, id)
        version = w.catalog.versions.get("returned", 1)
        (logged,) = newest_predictions(w.state, 10)
        assert told.version is not None
        assert (told.id, told.version.model, told.version.version) == (id, "returned", 1)
        assert (told.version.key, told.version.artifact) == (version.key, version.artifact)
        assert told.version.approval is not None
        assert told.version.approval.by == "ann"
        assert told.version.approval.decision["passed"]
        assert told.version.trained is not None
        assert (told.version.trained.run, told.version.trained.status) == (version.run_id, "finished")
        assert told.version.code.definition == version.info["inputs"]["model"]  # type: ignore[index, call-overload]
        assert {"model:returned", "udf:capped", "feature_view:spending"} <= set(told.version.code.declarations)
        snapshot = w.snapshot("orders")
        assert [(d.source, d.snapshot) for d in told.version.data] == [("orders", snapshot.digest)]
        assert told.version.data[0].recorded
        assert [(v.view, v.data.snapshot) for v in told.views] == [("spending", snapshot.digest)]
        assert told.row == {"customer_id": "c1", "amount": 12.5}
        assert {f.name: f.value for f in told.features} == {n: v for n, (v, _, _) in logged.features.items()}
        assert all(f.event_time for f in told.features if f.name.startswith("spending.") and f.status == "present")


def test_the_commit_that_was_trained_at_is_told(untrained: Any, row: dict[str, Any]) -> None:
    import subprocess

    def git(*words: str) -> str:
        named = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"]
        return subprocess.run(["git", "-C", str(untrained.root), *named, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "project.py")
    git("commit", "-qm", "first")
    untrained.release()
    untrained.materialise()
    with untrained.app() as asker:
        id = asker.ask(row)[1]["rows"][0]["id"]
    with untrained.open() as w:
        found = why(w, id).version
        assert found is not None
        assert found.code.commit == git("rev-parse", "HEAD")


def again(shop: Any, id: str) -> Replay:
    with shop.open() as w:
        return replay(w, find_prediction(w.state, id))


def test_computed_again_it_is_equal_whatever_happened_since(asked: tuple[Any, str], row: dict[str, Any]) -> None:
    shop, id = asked
    first = again(shop, id)
    assert (first.equal, first.compared, first.changed) == (True, 6, [])
    # the values in the online store are of a later moment, and there are more rows
    orders = shop.root / "data" / "orders.csv"
    lines = orders.read_text().splitlines()
    newest = [line.replace(line.split(",")[0], f"new{n}", 1) for n, line in enumerate(lines[1:40])]
    orders.write_text("\n".join([*lines, *newest]) + "\n")
    assert shop.another_version() == 2
    shop.materialise(1_773_000_000_000_000)
    rolled(shop.root / ".fivefold")
    assert again(shop, id) == first
    with shop.app(at=1_773_000_000_000_000) as asker:
        later = asker.ask(row)[1]["rows"][0]["id"]
    assert again(shop, later).equal
    with shop.open() as w:
        told = why(w, later).version
        assert told is not None
        assert told.version == 2
        rollback(w, "returned")
    # another project file, and no online store
    shop.edit("ff.last(\"amount\")", "ff.max(\"amount\", over=\"30d\")")
    shutil.rmtree(shop.root / ".fivefold" / "online")
    assert again(shop, id) == first


def test_without_materialised_values_it_is_equal_too(shop: Any, row: dict[str, Any]) -> None:
    shutil.rmtree(shop.root / ".fivefold" / "online")
    with shop.app() as asker:
        id = asker.ask(row)[1]["rows"][0]["id"]
    assert again(shop, id).equal
    with shop.open() as w:
        assert why(w, id).views == []


def test_what_was_changed_in_the_log_is_named(asked: tuple[Any, str]) -> None:
    shop, id = asked
    with shop.open() as w:
        logged = find_prediction(w.state, id)
        value, event, status = logged.features["spending.sum_amount_30d"]
        for planted in ((value + 2**-40 * value, event, status), (value, event + 1, status), (None, event, status)):
            found = replay(w, changed(logged, features={**logged.features, "spending.sum_amount_30d": planted}))
            assert not found.equal
            ((name, served, _, history, _),) = [msgspec.structs.astuple(c) for c in found.changed]
            assert (name, served, history) == ("spending.sum_amount_30d", planted[0], value)
        found = replay(w, changed(logged, prediction=logged.prediction + 2**-53))
        assert (found.equal, found.changed, found.predicted) == (False, [], logged.prediction)
        # a value of the request is seen where it is used
        found = replay(w, changed(logged, row={**logged.row, "amount": 13.5}))
        assert {c.name for c in found.changed} >= {"amount", "ratio"}


def test_rows_that_are_gone_are_said_to_be(asked: tuple[Any, str]) -> None:
    shop, id = asked
    for path in (shop.root / ".fivefold" / "tables" / "orders").glob("*.parquet"):
        path.unlink()
    with shop.open() as w, pytest.raises(Unavailable, match=r"cannot be computed again: rows of spending are gone"):
        replay(w, find_prediction(w.state, id))


@pytest.fixture
def streamed(tmp_path: Path) -> Path:
    """A shop that served between the events of its stream."""
    trained(tmp_path)
    with sp.opened(tmp_path) as workspace:
        later = sp.events(2, 100, sp.START + 110 * sp.MINUTE)
        for start in range(0, len(later), 50):
            sp.send(workspace, later[start : start + 50])
            worked(workspace)
            served(workspace, later[min(start + 50, len(later)) - 1]["at"] + 21 * sp.MINUTE + start, count=10)
        # what came since does not count
        sp.send(workspace, sp.events(3, 60, sp.START + 300 * sp.MINUTE))
        worked(workspace)
    return tmp_path


def test_of_streams_it_is_computed_from_the_archive(streamed: Path) -> None:
    with sp.opened(streamed) as w:
        logged = newest_predictions(w.state, 100)
        assert len(logged) == 20
        told = why(w, logged[0].id)
        assert {v.data.source for v in told.views} == {"past"}
        assert all(set(v.applied) == {0, 1} for v in told.views)
        for each in logged[::4]:
            found = replay(w, each)
            assert (found.equal, found.compared) == (True, 17), found
        name = "spending.sum_amount_2h"
        value, event, status = logged[0].features[name]
        wrong = changed(logged[0], features={**logged[0].features, name: ((value or 0) + 1.0, event, status)})
        assert [c.name for c in replay(w, wrong).changed] == [name]


def test_look_ups_of_features_are_explained_as_well(streamed: Path) -> None:
    from fivefold.realtime.lookup.service import FeatureService
    from fivefold.realtime.prediction_log.log import PredictionLog

    (streamed / "fivefold.toml").write_text((streamed / "fivefold.toml").read_text() + "lookups_logged = 1.0\n")
    with sp.opened(streamed) as w:
        store, log = w.online(), PredictionLog(w.state, kind=LOOKUPS)
        service = FeatureService(w, store, log=log)
        service.get(service.lookup(["spending.ever", "nobodys.count_1d"]), [{"who": "c1", "shop": 1}], END + 60 * sp.MINUTE)
        log.close()
        log.settle()
        store.close()
        (logged,) = newest_predictions(w.state, 10, LOOKUPS)
        told = why(w, logged.id)
        assert (told.version, {f.name for f in told.features}) == (None, {"spending.ever", "nobodys.count_1d"})
        found = replay(w, logged)
        assert (found.equal, found.compared) == (True, 2)


def test_the_command_line_tells_and_compares(asked: tuple[Any, str]) -> None:
    shop, id = asked
    found = shop.run("why", id, "--replay")
    assert (found.returncode, found.stderr) == (0, "")
    for words in (id, "returned@1", "by ann", "orders@", "spending.sum_amount_30d", "equal to the last bit"):
        assert words in found.stdout
    told = json.loads(shop.run("why", id, "--json").stdout)
    assert told["version"]["environment"]["python"]
    # a line that was changed
    (segment,) = log_folder(shop.root / ".fivefold").glob("*.jsonl")
    line = msgspec.json.decode(segment.read_bytes())
    line["features"]["spending.count_30d"][0] += 1
    segment.write_bytes(msgspec.json.encode(line) + b"\n")
    found = shop.run("why", id, "--replay", "--json")
    assert found.returncode == 1
    assert [c["name"] for c in json.loads(found.stdout)["replay"]["changed"]] == ["spending.count_30d"]
    found = shop.run("why", id, "--replay")
    assert found.returncode == 1
    assert "1 of 6 features differ" in found.stdout


@pytest.mark.parametrize("id", ["p00065a1b2c3d4e0123456789abcdef", "pffffffffffffff0123456789abcdef", "l00065a1b2c3d4e0123456789abcdef"])
def test_an_id_that_is_not_there_is_said_so(asked: tuple[Any, str], id: str) -> None:
    shop, _ = asked
    for _ in range(2):
        with pytest.raises(NotFound, match=f"no prediction '{id}' of ") as e, shop.open() as w:
            why(w, id)
        assert "predictions_kept" in e.value.hint
        rolled(shop.root / ".fivefold")


@pytest.mark.parametrize("id", ["", "p1", "x" * 31, "p" + "g" * 30, "../../etc/passwd", "p00065A1B2C3D4E0123456789ABCDEF"])
def test_what_is_no_id_is_refused(asked: tuple[Any, str], id: str) -> None:
    with asked[0].open() as w, pytest.raises(Invalid, match="is no identifier of a prediction"):
        why(w, id)


def test_over_http_a_prediction_is_explained(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as server:
        id = server.ask(row)[1]["rows"][0]["id"]
        for _ in range(100):
            status, found = server.get(f"/predictions/{id}")
            if status == 200:
                break
        assert (status, found["id"], found["version"]["version"]) == (200, id, 1)
        assert server.get("/predictions/p00065a1b2c3d4e0123456789abcdef")[0] == 404
        assert server.get("/predictions/x%2F..")[0] == 400
        assert server.stop()[0] == 0


def test_what_a_server_logged_is_there_for_duckdb_when_it_left(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as server:
        answered = [server.ask({**row, "amount": n})[1]["rows"][0] for n in range(8)]
        assert server.stop() == (0, "")
    files = shop.root / ".fivefold" / "log" / "predictions" / "*" / "*" / "*.parquet"
    found = duckdb.sql(
        "select id, prediction, features['spending.sum_amount_30d'].number, features['amount'].value::double, row->>'customer_id' "
        f"from '{files}' where endpoint = 'returned' order by served_at").fetchall()
    assert found == [
        (a["id"], a["prediction"], a["features"]["spending.sum_amount_30d"]["value"], float(n), "c1") for n, a in enumerate(answered)]
    assert [p["id"] for p in read_predictions(shop.root / ".fivefold", 100)] == [a["id"] for a in answered[::-1]]


def test_the_query_of_the_documentation_runs(shop: Any, row: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with shop.app() as asker:
        answers = [asker.ask({**row, "amount": n})[1]["rows"][0] for n in range(4)]
    rolled(shop.root / ".fivefold")
    text = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()
    (query,) = re.findall(r"```sql\n(.*?)```", text, re.S)
    monkeypatch.chdir(shop.root)
    ((endpoint, version, _, count, mean, total, customers, p99),) = duckdb.sql(query).fetchall()
    assert (endpoint, version, count, customers) == ("returned", 1, 4, 1)
    assert mean == pytest.approx(sum(a["prediction"] for a in answers) / 4)
    assert total == pytest.approx(answers[0]["features"]["spending.sum_amount_30d"]["value"])
    assert p99 > 0
