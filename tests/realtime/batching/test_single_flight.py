"""A stampede: however many ask for the same, from whichever thread, it is made once, and nobody hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import msgspec
import pytest

from fivefold.core.errors import Invalid
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.cache import ENTRY_BYTES, InFlight, PredictionCache
from fivefold.realtime.protocols.bounds import Expired
from fivefold.realtime.protocols.rows import batch_of

HANGS = 20.0


class Maker:
    """Makes 0.5 for a key when it is told to, and counts."""

    def __init__(self) -> None:
        self.go, self.began = threading.Event(), threading.Event()
        self.made: list[int] = []
        self.fails: list[Any] = []
        self._lock = threading.Lock()

    def __call__(self, places: list[int]) -> list[Any]:
        self.began.set()
        assert self.go.wait(HANGS)
        with self._lock:
            self.made.append(len(places))
            fails = self.fails.pop() if self.fails else None
        if isinstance(fails, BaseException) and not isinstance(fails, Invalid):
            raise fails
        return [fails or 0.5] * len(places)


def stampede(cache: PredictionCache, maker: Maker, threads: int, keys: list[bytes]) -> list[Any]:
    """What each thread got, a leader first; it goes on when all others wait."""
    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(cache.through, keys, maker)]
        assert maker.began.wait(HANGS)
        asked += [pool.submit(cache.through, keys, maker) for _ in range(threads - 1)]
        until = time.monotonic() + HANGS
        while pool._work_queue.qsize() and time.monotonic() < until:
            time.sleep(0.001)
        maker.go.set()
        _, late = wait(asked, timeout=HANGS)
        assert not late, "somebody hangs"
        return [one.exception() or one.result() for one in asked]


@pytest.mark.parametrize("bytes", [32 << 20, ENTRY_BYTES - 1])
def test_many_threads_make_it_once_even_where_it_cannot_be_kept(bytes: int) -> None:
    cache, maker = PredictionCache(1e-9 if bytes < ENTRY_BYTES else 60.0, bytes), Maker()
    # the others have claimed the flight before it ends
    real, waiting = cache._wait, threading.Semaphore(0)

    def waits(others: Any, out: list[Any]) -> list[int]:
        if others:
            waiting.release()
        return real(others, out)

    cache._wait = waits  # type: ignore[method-assign]
    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(cache.through, [b"k", b"k"], maker) for _ in range(24)]
        for _ in range(23):
            assert waiting.acquire(timeout=HANGS)
        maker.go.set()
        assert [one.result(HANGS) for one in asked] == [[0.5, 0.5]] * 24
    assert maker.made == [1]
    assert (cache.misses, cache.shared) == (1, 47)
    assert cache._flying == {}


@pytest.mark.parametrize("failure", [Invalid("no"), RuntimeError("broken"), KeyboardInterrupt()])
def test_when_the_leader_fails_one_of_those_that_wait_makes_it(failure: BaseException) -> None:
    cache, maker = PredictionCache(60.0), Maker()
    maker.fails = [failure]
    got = stampede(cache, maker, 8, [b"k"])
    failed = [g for g in got if g != [0.5]]
    assert len(failed) == 1
    assert failed[0] is failure or failed[0] == [failure]
    assert maker.made == [1, 1]
    assert cache._flying == {}


def test_calls_that_overlap_in_a_circle_end() -> None:
    cache, maker = PredictionCache(60.0), Maker()
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(cache.through, keys, maker) for keys in ([b"a", b"b"], [b"b", b"c"], [b"c", b"a"])]
        maker.go.set()
        assert [f.result(HANGS) for f in found] == [[0.5, 0.5]] * 3
    assert sum(maker.made) == 3
    assert cache._flying == {}


def test_on_a_loop_nobody_waits_and_nothing_is_claimed() -> None:
    cache, maker = PredictionCache(60.0), Maker()

    async def asks() -> None:
        with pytest.raises(InFlight):
            cache.through([b"other", b"k"], lambda places: [1.0] * len(places))
        assert cache.through([b"other"], lambda places: [1.0] * len(places)) == [1.0]

    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(cache.through, [b"k"], maker)
        assert maker.began.wait(HANGS)
        asyncio.run(asks())
        maker.go.set()
        assert leader.result(HANGS) == [0.5]
    assert cache.counts()["misses"] == 2


def test_a_stampede_on_a_slow_model_computes_each_row_once(shop: Any, row: dict[str, Any]) -> None:
    shop.edit('ff.Endpoint("returned", returned)', 'ff.Endpoint("returned", returned, cache="1h")')
    with shop.app() as asker:
        live = asker.live["returned"]
        using = live._using
        predictor = using.served.loaded.predictor
        rows_made: list[int] = []

        def slow(x: Any) -> Any:
            rows_made.append(len(x))
            time.sleep(0.01)
            return predictor.call(x)

        replaced = msgspec.structs.replace
        using.served = replaced(using.served, loaded=replaced(using.served.loaded, predictor=replaced(predictor, call=slow)))
        rows = [{**row, "amount": float(n)} for n in range(4)]

        def asked(n: int, **more: Any) -> Any:
            return batch_of([rows[n % 4]], live.signature.fields, **more)

        async def storm() -> tuple[list[Any], list[Any]]:
            loop, batcher = asyncio.get_running_loop(), Batcher({"returned": None})
            aside = [loop.run_in_executor(None, live.answer, asked(n)) for n in range(16)]
            await asyncio.sleep(0.002)
            inline = []
            for turn in range(6):
                inline += [asyncio.ensure_future(batcher(live, asked(n))) for n in range(16)]
                if turn == 2:
                    # who leaves, or is too late, takes nothing away from the others
                    gone = asyncio.ensure_future(batcher(live, asked(0)))
                    gone.cancel()
                    with pytest.raises(Expired):
                        batcher(live, asked(1, deadline=1))
                await asyncio.sleep(0)
            return list(await asyncio.gather(*aside)), list(await asyncio.wait_for(asyncio.gather(*inline), HANGS))

        # the batcher is awaited by handlers: so here
        aside, inline = asyncio.run(storm())
        assert sum(rows_made) == 4
        assert len({(o.predictions[0]) for o in aside + inline}) == 4
        assert not any(o.errors for o in aside + inline)
        assert len(aside) + len(inline) == 16 + 96
        assert live.cache.counts()["misses"] == 4
