"""A gatekeeper over every catalog, with cheap passwords."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from access_keeper import Gatekeeper

from fivefold.access import secret


@pytest.fixture
def keeper(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gatekeeper]:
    monkeypatch.setattr(secret, "_LOG_N", 4)
    made = Gatekeeper(catalog_url)
    yield made
    made.catalog.close()
