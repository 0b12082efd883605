"""A catalog under a clock that the test holds, in every database; and processes that act at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from fivefold.catalog import Catalog, open_catalog

_START = """
import sys
from fivefold.catalog import open_catalog
from fivefold.core.errors import FivefoldError
url, number = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""


class Clock:
    """Microseconds that move only when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now

    def pass_(self, micros: int) -> int:
        self.now += micros
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(catalog_url: str, clock: Clock) -> Iterator[Catalog]:
    with open_catalog(catalog_url, "flights", clock=clock) as opened:
        yield opened


@pytest.fixture
def other_project(catalog: Catalog, catalog_url: str, clock: Clock) -> Iterator[Catalog]:
    """Another project in the same database."""
    with open_catalog(catalog_url, "other", clock=clock) as opened:
        yield opened


@pytest.fixture
def together() -> Callable[[str, str, int], list[str]]:
    """Runs code in so many processes that start at once; gives what each printed last."""

    def run(code: str, url: str, count: int) -> list[str]:
        processes = [subprocess.Popen([sys.executable, "-c", _START + code, url, str(number)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True) for number in range(count)]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * count
        return [text.strip().splitlines()[-1] for text in printed]

    return run
