from __future__ import annotations

import pytest
from site_rows import Part, unlike


@pytest.fixture
def parts() -> list[Part]:
    """Five sites, of different sizes and about different means."""
    return unlike(5)
