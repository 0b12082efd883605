from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_federation import Clock, Server, Site, plan


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, sqlite_url: str, clock: Clock) -> Iterator[Callable[..., tuple[Server, list[Site]]]]:
    """A server with a plan, and so many sites of it."""
    made: list[Server] = []
    sites: list[Site] = []

    def build(count: int = 4, *, url: str = sqlite_url, rule: Any = None, policy: Any = None, **given: Any) -> tuple[Server, list[Site]]:
        server = Server(tmp_path / "server", url, clock, plan(**given), rule=rule)
        made.append(server)
        sites.extend(Site(server, tmp_path, name, **(policy or {})) for name in ["ada", "bob", "cyd", "dee", "eve", "fay", "gus", "hal"][:count])
        return server, sites

    yield build
    for site in sites:
        site.part.close()
    for server in made:
        server.catalog.close()
