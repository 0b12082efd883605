"""While a batch is worked on nobody looks for cycles, and afterwards all is as it was."""

from __future__ import annotations

import gc

import pytest

from fivefold.realtime.streams.garbage import uncollected


def test_cycles_are_looked_for_again_even_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
        _ = 1 / 0
    assert gc.isenabled()


def test_who_wants_no_search_is_left_in_peace() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
