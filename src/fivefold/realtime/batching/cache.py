"""Predictions that were made already, by all that they were made from."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

MOST_BYTES = 32 << 20
"""What one endpoint's cache holds, keys and bookkeeping counted in."""
ENTRY_BYTES = 250
"""What an entry takes besides its prediction."""
JITTER = 0.1
"""By what part the life of an entry is shortened or lengthened, so that those made together do not end together."""

_packed = msgspec.msgpack.Encoder().encode
_sorted = msgspec.msgpack.Encoder(order="deterministic").encode


def digest(parts: Sequence[bytes]) -> bytes:
    """BLAKE2b-256 over parts, each with its length before it: the same bytes split otherwise are something else."""
    made = hashlib.blake2b(digest_size=32)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def key_of(made_by: bytes, made_of: bytes, inputs: Sequence[Any], features: Sequence[Any]) -> bytes:
    """The key of a row's prediction: who makes it, what its features were made of, its inputs, and their values."""
    return digest((made_by, made_of, _packed(inputs), _packed(features)))


def seen_bytes(seen: Mapping[str, Any]) -> bytes:
    """What features were made of, in bytes that do not depend on the order of views or partitions."""
    return _sorted({name: msgspec.to_builtins(s, str_keys=True) for name, s in seen.items()})


def maker(*names: str) -> bytes:
    """Who makes predictions: tenant, endpoint, version and whatever else makes them differ."""
    return digest([n.encode() for n in names])


class InFlight(Exception):
    """Another thread is making what is asked for on an event loop: ask again when it has, or in a thread."""


_NOTHING = object()


class _Flight:
    """A prediction that somebody makes: `over` is set when it is made, or will not be."""

    __slots__ = ("made", "over")

    def __init__(self) -> None:
        self.made: Any = _NOTHING
        self.over: threading.Event | None = None


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class PredictionCache:
    """Predictions by key, for `seconds` each, in so many bytes; the one used longest ago goes first.

    Only predictions are kept, no errors: what failed is asked again.
    """

    def __init__(
        self,
        seconds: float,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._seconds, self._most, self._clock, self._chance = seconds, most_bytes, clock, chance
        self._held: OrderedDict[bytes, tuple[Any, float, int]] = OrderedDict()
        self._flying: dict[bytes, _Flight] = {}
        self._lock = threading.Lock()
        self.bytes = 0
        self.hits = self.misses = self.shared = 0

    def through(self, keys: Sequence[bytes], make: Callable[[list[int]], Sequence[Any]]) -> list[Any]:
        """Predictions by place: those that are kept, and what `make` gives for the others' places, each key once.

        What another thread is making is waited for; should that fail, one of those that wait makes it. An exception is
        given to its places, not kept. Raises what `make` raises, and InFlight on an event loop, where nobody may wait:
        then nothing was made.
        """
        out: list[Any] = [None] * len(keys)
        places: Sequence[int] = range(len(keys))
        while places:
            mine, same, others = self._claim(keys, places, out)
            if mine:
                self._make(keys, list(mine.values()), make, out)
                for i in same:
                    out[i] = out[mine[keys[i]]]
            # only now: who waits has made what somebody else may be waiting for
            places = self._wait(others, out)
        return out

    def _claim(
        self, keys: Sequence[bytes], places: Sequence[int], out: list[Any]
    ) -> tuple[dict[bytes, int], list[int], list[tuple[int, _Flight]]]:
        """What is kept goes to `out`; first places of keys that are this caller's now, their others, and what flies."""
        mine: dict[bytes, int] = {}
        same: list[int] = []
        others: list[tuple[int, _Flight]] = []
        with self._lock:
            if self._flying and _on_a_loop() and any(keys[i] in self._flying for i in places):
                raise InFlight
            now = self._clock()
            for i in places:
                key = keys[i]
                held = self._held.get(key)
                if held is not None and now < held[1]:
                    self._held.move_to_end(key)
                    out[i] = held[0]
                    self.hits += 1
                elif key in mine:
                    same.append(i)
                    self.shared += 1
                elif (flight := self._flying.get(key)) is not None:
                    if flight.over is None:
                        flight.over = threading.Event()
                    others.append((i, flight))
                else:
                    mine[key] = i
                    self._flying[key] = _Flight()
                    self.misses += 1
        return mine, same, others

    def _make(
        self, keys: Sequence[bytes], places: list[int], make: Callable[[list[int]], Sequence[Any]], out: list[Any]
    ) -> None:
        made: Sequence[Any] = ()
        try:
            made = make(places)
            for i, prediction in zip(places, made, strict=True):
                out[i] = prediction
        finally:
            with self._lock:
                now = self._clock()
                for n, i in enumerate(places):
                    flight = self._flying.pop(keys[i])
                    if n < len(made) and not isinstance(made[n], Exception):
                        flight.made = made[n]
                        self._keep(keys[i], made[n], now)
                    if flight.over is not None:
                        flight.over.set()

    def _wait(self, others: Sequence[tuple[int, _Flight]], out: list[Any]) -> list[int]:
        """Wait for what others make; the places for which they made nothing."""
        left = []
        for i, flight in others:
            assert flight.over is not None
            flight.over.wait()
            if flight.made is _NOTHING:
                left.append(i)
            else:
                out[i] = flight.made
        if others:
            with self._lock:
                self.shared += len(others) - len(left)
        return left

    def counts(self) -> dict[str, int]:
        """Rows whose prediction was there, was being made for another row, or had to be made; and the size."""
        return {
            "hits": self.hits, "waits": self.shared, "misses": self.misses,
            "entries": len(self._held), "bytes": self.bytes,
        }  # fmt: skip

    def _keep(self, key: bytes, prediction: Any, now: float) -> None:
        size = ENTRY_BYTES + (32 * len(prediction) if isinstance(prediction, list) else 0)
        if size > self._most:
            return
        before = self._held.pop(key, None)
        if before is not None:
            self.bytes -= before[2]
        life = self._seconds * (1 + JITTER * (2 * self._chance() - 1))
        self._held[key] = (prediction, now + life, size)
        self.bytes += size
        while self.bytes > self._most:
            _, (_, _, gone) = self._held.popitem(last=False)
            self.bytes -= gone
