"""When Python looks for cycles, and among what."""

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


@contextmanager
def settled() -> Iterator[None]:
    """What is there now stays, and searches for cycles need not walk through it.

    A process that serves has a million objects of libraries and models. Walking through them stops all requests for
    more than a tenth of a second, about once a second under load.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # else a library whose objects outlive the interpreter complains at its end
