"""Every learner's package, made once for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# beside the tests, so that a worker's process finds the classes of pickled models too
sys.path.insert(0, str(Path(__file__).parent))

import model_cases


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the packages run in one worker, so that they are built once."""
    for item in items:
        if "packages" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("packages"))


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, model_cases.Built]:
    """Every case, built: do not change the folders."""
    folder = tmp_path_factory.mktemp("packages")
    return {name: model_cases.build(case, folder / name) for name, case in model_cases.CASES.items()}
