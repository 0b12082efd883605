"""Features while the online store does not answer: declared values stand for those that would be looked up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fivefold.core.errors import FivefoldError, Unavailable
from fivefold.features.lookup import Lookup, Vector
from fivefold.ports.online import OnlineStore

AGAIN_SECONDS = 1.0
"""How long a store that did not answer is left alone: to wait for it in each request would make all of them late."""


class Fallback:
    """Looks features up, and gives `values` (by full name, for all stored ones) where the store does not answer."""

    def __init__(self, lookup: Lookup, values: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup, self._values, self._clock = lookup, values, clock
        self._asked_again = -AGAIN_SECONDS

    def vectors(self, store: OnlineStore, rows: Sequence[Mapping[str, Any]], at: int) -> list[Vector | FivefoldError]:
        """As `Lookup.vectors`, but it does not raise Unavailable."""
        if self._clock() >= self._asked_again:
            try:
                return self._lookup.vectors(store, rows, at)
            except Unavailable:
                self._asked_again = self._clock() + AGAIN_SECONDS
        return [self._lookup.standing_in(self._values, row) for row in rows]
