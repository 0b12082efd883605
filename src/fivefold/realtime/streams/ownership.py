"""Workers share a stream's partitions: each takes its share of what is free, and gives up what is above it."""

from __future__ import annotations

import math
from collections.abc import Callable

from fivefold.catalog.leases import Leases
from fivefold.core.time import SECOND
from fivefold.flow.steps import worker_name

LEASE = 10 * SECOND
"""How long the partitions of a worker that died stay with it."""


class Member:
    """One worker of a stream's group. Call `balance` every second or so; it keeps the leases alive as well.

    Two workers may believe for a moment that a partition is theirs; the store lets only one commit win, so nothing is
    applied twice.
    """

    def __init__(self, leases: Leases, stream: str, partitions: int, name: str = "") -> None:
        self.name = name or worker_name()
        self._leases, self._stream = leases, stream
        self.partitions = partitions
        """How many there are to share; more may be added."""
        self.owned: tuple[int, ...] = ()

    def balance(self, leave: Callable[[int], object] = lambda partition: None) -> tuple[int, ...]:
        """The partitions that are ours from now on; `leave` is called for each that is given up, before it is free."""
        leases = self._leases
        leases.acquire(self._member(self.name), self.name, LEASE)
        members = sorted(held.owner for held in leases.held(self._member("")))
        share = math.ceil(self.partitions / max(1, len(members)))
        mine = [p for p in self.owned if leases.acquire(self._of(p), self.name, LEASE) is not None]
        for lost in set(self.owned) - set(mine):
            leave(lost)
        # those that come first keep one more where it does not divide evenly
        position = members.index(self.name) if self.name in members else 0
        fair = min(share, self.partitions // max(1, len(members)) + (position < self.partitions % len(members)))
        for above in mine[fair:]:
            leave(above)
            leases.release(self._of(above), self.name)
        mine = mine[:fair]
        for partition in range(self.partitions):
            if len(mine) >= fair:
                break
            if partition not in mine and leases.acquire(self._of(partition), self.name, LEASE) is not None:
                mine.append(partition)
        self.owned = tuple(sorted(mine))
        return self.owned

    def leave(self) -> None:
        """Give everything back."""
        for partition in self.owned:
            self._leases.release(self._of(partition), self.name)
        self._leases.release(self._member(self.name), self.name)
        self.owned = ()

    def _member(self, name: str) -> str:
        return f"stream:{self._stream}:member:{name}"

    def _of(self, partition: int) -> str:
        return f"stream:{self._stream}:partition:{partition}"
