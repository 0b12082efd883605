"""The oracle as a fixture."""

from __future__ import annotations

from types import SimpleNamespace

import naive
import pytest


@pytest.fixture(scope="session")
def oracle() -> SimpleNamespace:
    """The functions of `naive`, for tests."""
    return SimpleNamespace(
        as_of=naive.as_of, estimate=naive.estimate, middle=naive.middle, rows_of=naive.rows_of, seen=naive.seen
    )
