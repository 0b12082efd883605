from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from declared_sites import Sites


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[..., Sites]]:
    """A declared federation of so many sites over lines in memory."""
    made: list[Sites] = []

    def build(federation: Any, **more: Any) -> Sites:
        made.append(Sites(tmp_path / str(len(made)), federation, **more))
        return made[-1]

    yield build
    for each in made:
        each.close()
