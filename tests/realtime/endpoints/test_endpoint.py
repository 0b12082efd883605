from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from fivefold.core.errors import Unavailable
from fivefold.lifecycle.release import rollback
from fivefold.ports.trees import read_manifest
from fivefold.realtime.prediction_log.logged import prediction_id
from fivefold.workspace.predictions import read_predictions


def corrupt(shop: Any, number: int) -> None:
    """Damage a version's package, here and in the store."""
    with shop.open() as w:
        artifact = w.catalog.versions.get("returned", number).artifact
        shutil.rmtree(w.state / "packages" / artifact, ignore_errors=True)
        (about,) = (f.digest for f in read_manifest(w.artifacts, artifact).files if f.name == "fivefold.json")
        (stored,) = (w.state / "artifacts").rglob(f"*{about[4:]}*")
        stored.chmod(0o644)
        stored.write_bytes(b"not what it was")


def test_a_promotion_is_used_from_the_next_refresh_on_and_a_rollback_too(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        live = asker.live["returned"]
        assert shop.another_version() == 2
        assert asker.ask(row)[1]["version"] == 1
        live.refresh()
        assert asker.ask(row)[1]["version"] == 2
        with shop.open() as w:
            rollback(w, "returned")
        live.refresh()
        assert asker.ask(row)[1]["version"] == 1


def test_a_champion_whose_features_are_not_there_yet_waits_for_them(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        live = asker.live["returned"]
        shop.edit('ff.count(over="30d")', 'ff.count(over="30d"), ff.max("amount", over="30d")')
        assert shop.release() == 2
        live.refresh()
        assert asker.ask(row)[1]["version"] == 1
        assert "fivefold materialize" in str(live.trouble)
        shop.materialise()
        live._failed = None  # as when it is time to try again
        live.refresh()
        assert asker.ask(row)[1]["version"] == 2


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_and_is_named(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        before = asker.ask(row)[1]["rows"][0]["prediction"]
        shop.another_version()
        corrupt(shop, 2)
        asker.live["returned"].refresh()
        status, found = asker.ask(row)
        assert (status, found["version"], found["rows"][0]["prediction"]) == (200, 1, before)
        status, about, _ = asker.send(path="/v2/health/ready", method="GET")
        assert (status, about["ready"]) == (200, True)
        assert "fivefold.json" in about["trouble"]["returned"]
        with shop.open() as w:
            rollback(w, "returned")
        asker.live["returned"].refresh()
        assert asker.send(path="/v2/health/ready", method="GET")[1]["trouble"] == {}


def test_a_package_that_is_damaged_here_is_fetched_anew(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        before = asker.ask(row)[1]["rows"][0]["prediction"]
    files = [f for f in (shop.root / ".fivefold" / "packages").rglob("*") if f.is_file()]
    assert files
    for file in files:
        file.chmod(0o644)
        file.write_bytes(b"rust")
    with shop.app() as asker:
        assert asker.ask(row)[1]["rows"][0]["prediction"] == before


def test_every_answer_is_in_the_log_with_what_it_was_made_of(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        found = asker.ask({"rows": [row, {"customer_id": "c1"}, {**row, "amount": 3}]})[1]["rows"]
    logged = read_predictions(shop.root / ".fivefold", 10)
    assert [p["id"] for p in logged] == [found[2]["id"], found[0]["id"]]
    newest = logged[0]
    assert (newest["endpoint"], newest["model"], newest["version"], newest["row"]) == (
        "returned", "returned", 1, {"customer_id": "c1", "amount": 3.0})
    assert newest["prediction"] == found[2]["prediction"]
    assert {n: v for n, (v, _, _) in newest["features"].items()} == {
        n: f["value"] for n, f in found[2]["features"].items()}
    assert newest["features"]["amount"][2] == "present"


def test_a_store_that_fails_is_unavailable_and_not_a_fault(shop: Any, row: dict[str, Any]) -> None:
    class Gone:
        def get(self, pairs: object) -> list[bytes | None]:
            raise Unavailable("the online store went away.", hint="Bring it back.")

    with shop.app() as asker:
        asker.live["returned"]._store = Gone()
        status, found = asker.ask(row)
        assert (status, found["error"]["message"]) == (503, "the online store went away.")
        assert asker.send(path="/", method="GET")[0] == 503


def test_a_version_whose_code_has_changed_is_refused_by_name_at_the_start(shop: Any, row: dict[str, Any]) -> None:
    shop.edit("clip(0, 50)", "clip(0, 60)")
    with shop.app() as asker:
        status, found = asker.ask(row)
        assert status == 503
        assert "udf:capped, whose code has changed since" in found["error"]["message"]
        assert "udf:capped" in asker.send(path="/v2/health/ready", method="GET")[1]["trouble"]["returned"]


def test_a_running_endpoint_outlives_any_library_s_error(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("anything")

    with shop.app() as asker:
        shop.another_version()
        monkeypatch.setattr("fivefold.realtime.endpoints.loading.served", broken)
        live = asker.live["returned"]
        live.refresh()
        assert "returned@2 cannot be loaded: KeyError: 'anything'." in str(live.trouble)
        monkeypatch.undo()
        live.refresh()
        assert live.served.version.number == 1, "it is left alone for a while"
        monkeypatch.setattr("fivefold.realtime.endpoints.endpoint.time.monotonic", lambda: 1e12)
        live.refresh()
        assert live.served.version.number == 2
        assert live.trouble is None


def test_identifiers_sort_by_time() -> None:
    made = [prediction_id(now) for now in (1, 2, 10, 2**40, 2**52)]
    assert made == sorted(made)
    assert len({prediction_id(5) for _ in range(1000)}) == 1000


def test_the_log_of_a_project_is_where_the_environment_keeps_its_state(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        asker.ask(row)
    assert len(list(Path(shop.root, ".fivefold", "log", "predictions").glob("*.jsonl"))) == 1
