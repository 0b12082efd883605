"""Which rows a call fails over, found by halves, so that the others are answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BUDGET = 512
"""Calls that one batch may cost. A merged batch is small enough that this finds every bad row of it."""


class Systematic(Exception):
    """A failure that is not one of some rows: asking again for fewer would not mend it."""


class OutOfCalls(Exception):
    """The rows were not told apart: too many of the batch fail."""


def isolate(
    call: Callable[[int, int], list[Any]], count: int, budget: int = BUDGET
) -> list[tuple[Any, Exception | None]]:
    """Results of rows 0 to `count`, each with None or the reason why there is none, from calls of ranges of rows.

    A bad row costs 2 log2(count) calls more at most. Past `budget` calls the rows that are left fail with OutOfCalls;
    one that raises Systematic fails all of them, and is not asked again.
    """
    out: list[tuple[Any, Exception | None]] = [(None, None)] * count
    ranges = [(0, count)] if count else []
    while ranges:
        start, stop = ranges.pop()
        if budget <= 0:
            out[start:stop] = [(None, OutOfCalls())] * (stop - start)
            continue
        budget -= 1
        try:
            found = call(start, stop)
            if len(found) != stop - start:
                raise Systematic(f"the model gave {len(found)} predictions for {stop - start} rows")
        except Systematic as e:
            return [(None, e)] * count
        except Exception as e:  # a model may raise anything
            if stop - start == 1:
                out[start] = (None, e)
            else:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]
        else:
            out[start:stop] = [(f, None) for f in found]
    return out
