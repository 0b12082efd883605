"""Work during which Python looks for no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles in this process meanwhile: for work that makes many objects, and no cycles of them.

    Python searches after every so many new objects, and walks through all that a batch holds each time: that costs as
    much as all the rest. What is not in a cycle is freed at once, as always.
    """
    if not gc.isenabled():
        # somebody else does the same, or wants it so
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
