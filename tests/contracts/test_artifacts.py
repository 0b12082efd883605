"""Every backend that has a file for ArtifactStore keeps its contract: being in the folder enrols it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from fivefold.backends import backends_of, connect
from fivefold.ports.artifacts import ArtifactStore
from fivefold.testing import artifacts


@pytest.fixture(params=backends_of(ArtifactStore))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """An empty store of each backend; one that is not listed here says so by failing."""
    match request.param:
        case "memory":
            return connect(ArtifactStore, "memory:")
        case "files":
            return connect(ArtifactStore, f"files:{tmp_path}/artifacts")
        case "s3":
            return connect(ArtifactStore, f"s3://artifacts/{uuid.uuid4().hex}", **request.getfixturevalue("s3_server"))
    raise AssertionError(f"say here how to open an empty ArtifactStore of {request.param!r}")


@pytest.mark.parametrize("check", artifacts.checks, ids=lambda check: check.__name__)
def test_the_store_keeps_the_contract(check: Callable[[ArtifactStore], None], store: ArtifactStore) -> None:
    check(store)


def test_every_backend_of_the_house_is_here() -> None:
    assert {"files", "memory", "s3"} <= set(backends_of(ArtifactStore))


def test_every_check_of_the_suite_is_run() -> None:
    written = {name for name, thing in vars(artifacts).items()
               if callable(thing) and getattr(thing, "__module__", "") == artifacts.__name__
               and not name.startswith("_")}
    assert written == {check.__name__ for check in artifacts.checks}
