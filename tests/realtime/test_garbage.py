"""While a batch is worked on nobody looks for cycles, nor through what a server has; afterwards all is as it was."""

from __future__ import annotations

import gc

import pytest

from fivefold.realtime.garbage import settled, uncollected


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


def test_what_was_there_is_not_walked_through_until_the_end_even_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), settled():
        assert gc.get_freeze_count() > 1000
        _ = 1 / 0
    assert gc.get_freeze_count() == 0
