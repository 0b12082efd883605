"""Checks that take a moment, in threads of their own: one lane for passwords, one for the rest, both bounded."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from fivefold.access.authenticate import Authenticator, Credentials
from fivefold.core.identity import Principal, SlowDown

MOST_WAITING = 64
"""Checks of a lane that may wait; more are told to come again."""


class CheckQueue:
    """Runs `Authenticator.verify`; the same credentials are looked up once, however many requests wait for them."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        # hashing is meant to be slow: a flood of passwords must not hold up tokens
        self._slow = ThreadPoolExecutor(1, "passwords")
        self._quick = ThreadPoolExecutor(2, "tokens")
        self._later = ThreadPoolExecutor(1, "uses of tokens")
        self._pending: dict[bytes, Future[Principal]] = {}
        self._waiting = {self._slow: 0, self._quick: 0}
        self._lock = threading.Lock()

    def check(self, given: Credentials, digest: bytes) -> Future[Principal]:
        """Who is asking, in a while. Raises SlowDown when too many wait; the future raises what `verify` does."""
        lane = self._slow if self._authenticator.is_slow(given, digest) else self._quick
        with self._lock:
            found = self._pending.get(digest)
            if found is not None:
                return found
            # a flood must not keep a revocation from being seen: who is known is always looked up
            if self._waiting[lane] >= MOST_WAITING and not self._authenticator.is_known(digest):
                raise SlowDown("too many credentials are being checked.", 1.0, hint="Try again in 1 s.")
            self._waiting[lane] += 1
            made = self._pending[digest] = lane.submit(self._authenticator.verify, given, digest)
        made.add_done_callback(lambda _: self._done(lane, digest))
        return made

    def close(self) -> None:
        """Start no more checks."""
        for lane in (self._slow, self._quick, self._later):
            lane.shutdown(wait=False, cancel_futures=True)

    def _done(self, lane: ThreadPoolExecutor, digest: bytes) -> None:
        with self._lock:
            self._waiting[lane] -= 1
            self._pending.pop(digest, None)
        if lane is self._quick:
            with suppress(RuntimeError):  # it was closed meanwhile
                self._later.submit(self._authenticator.write_uses)
