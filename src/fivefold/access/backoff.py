"""Back-off: after a few failures each one doubles the wait until the next try; a bounded number of names is known."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class Backoff:
    """Failures by name. `free` of them cost nothing; then `first` seconds, doubling up to `most`.

    They are forgotten when none was added for `forget` seconds, and those of the name that failed longest ago when more
    than `names` are known. Safe to share between threads.
    """

    def __init__(
        self,
        *,
        free: int,
        most: float,
        first: float = 1.0,
        forget: float = 600.0,
        names: int = 4096,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._free, self._first, self._most, self._forget = free, first, most, forget
        self._names, self._tick = names, tick
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, name: str) -> float:
        """Seconds until a name may try again; 0 for at once."""
        with self._lock:
            count, at = self._failures.get(name, (0, 0.0))
        if count < self._free:
            return 0.0
        delay = min(self._first * 2.0 ** min(count - self._free, 30), self._most)
        return max(0.0, at + delay - self._tick())

    def failed(self, name: str) -> None:
        """Count a failure of a name."""
        now = self._tick()
        with self._lock:
            count, at = self._failures.pop(name, (0, now))
            self._failures[name] = (1 if now - at > self._forget else count + 1, now)
            while len(self._failures) > self._names:
                self._failures.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name."""
        with self._lock:
            self._failures.pop(name, None)

    def __len__(self) -> int:
        return len(self._failures)
