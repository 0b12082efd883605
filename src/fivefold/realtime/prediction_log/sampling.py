"""How much of what is put into the log is kept: all of it, or one of every so many while it cannot keep up."""

from __future__ import annotations

import time
import zlib

MOST_EVERY = 1024
HARDER_SECONDS = 0.05
EASIER_SECONDS = 1.0


class Sampling:
    """Keeps every `every`-th by a hash of its identifier, so that who samples alike keeps alike."""

    def __init__(self) -> None:
        self.every = 1
        self._changed = 0.0

    def keeps(self, id: str) -> bool:
        """Whether a prediction is among those kept."""
        return not zlib.crc32(id.encode()) % self.every

    def harder(self) -> None:
        """Keep half as many, if that was not just said."""
        if time.monotonic() >= self._changed + HARDER_SECONDS:
            self._set(min(self.every * 2, MOST_EVERY))

    def easier(self) -> None:
        """Keep twice as many, if nothing went wrong for a while."""
        if self.every > 1 and time.monotonic() >= self._changed + EASIER_SECONDS:
            self._set(self.every // 2)

    def _set(self, every: int) -> None:
        self.every, self._changed = every, time.monotonic()
