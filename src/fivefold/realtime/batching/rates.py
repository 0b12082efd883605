"""How often each caller may ask: a token bucket a key."""

from __future__ import annotations

import math
from collections import OrderedDict

from fivefold.core.errors import Invalid

MOST_KEYS = 10_000
"""Callers that are remembered; the one that asked longest ago is forgotten first, and starts with a full bucket."""

_PER = {"s": 1, "m": 60, "h": 3600}


def rate(text: str, where: str = "rate") -> tuple[float, int]:
    """Requests a second, and how many at once, in `100/s`, `600/m` or `100/s+20`. Raises Invalid for anything else.

    >>> rate("120/m+5")
    (2.0, 5)
    """
    count, _, rest = text.replace(" ", "").partition("/")
    unit, _, burst = rest.partition("+")
    if not count.isdecimal() or int(count) < 1 or unit not in _PER or (burst and not burst.isdecimal()):
        raise Invalid(
            f"{where}: {text!r} is not a rate.", hint="Write 100/s, 600/m, or 100/s+20 for bursts of 20 more."
        )
    each = int(count) / _PER[unit]
    return each, max(1, math.ceil(each)) if not burst else max(1, int(burst))


class Rates:
    """Buckets that fill at `each` tokens a second and hold `most`; a request takes one."""

    def __init__(self, each: float, most: int) -> None:
        self._each, self._most = each / 1e9, float(most)
        self._buckets: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def take(self, key: bytes, now: int) -> int:
        """0 when the caller may ask at `now` (ns), else milliseconds until it may. A clock set back adds nothing."""
        held, before = self._buckets.pop(key, (self._most, now))
        held = min(self._most, held + max(0, now - before) * self._each)
        wait = 0
        if held >= 1.0:
            held -= 1.0
        else:
            wait = max(1, math.ceil((1.0 - held) / self._each / 1e6))
        self._buckets[key] = (held, max(now, before))
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        return wait
