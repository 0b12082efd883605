from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_loop import POISON, FakeLive, FakeLoop, batch, told
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.cache import InFlight
from fivefold.realtime.batching.queue import AGE
from fivefold.realtime.protocols.bounds import Expired, Overloaded

MS = 1_000_000


@pytest.fixture
def loop() -> Iterator[FakeLoop]:
    made = FakeLoop()
    yield made
    made.close()


def batcher(loop: FakeLoop, slo: int | None = None) -> Batcher:
    return Batcher({"doubled": slo}, lambda: loop)


def busy(loop: FakeLoop, ask: Batcher, live: Any, count: int = 2) -> None:
    """A turn with several requests, so that the next is taken for one too."""
    for _ in range(count):
        ask(live, batch(0))
    loop.turn()


def taught(loop: FakeLoop, slo: int | None = None, each: int = 0, once: int = 5 * MS) -> tuple[Batcher, FakeLive]:
    """A batcher that knows that calls are long, and has nothing to do."""
    ask, live = batcher(loop, slo), FakeLive(loop, each, once)
    for i in range(12):
        ask(live, batch(1, *[1] * (i % 3)))
        loop.turn()
        while loop.jobs:
            loop.finish_job()
        loop.pass_time(1000 * MS)
    assert not ask.counts("doubled")["expired"]
    live.calls.clear()
    return ask, live


def test_what_is_read_in_one_turn_is_one_call(loop: FakeLoop) -> None:
    ask, live = batcher(loop), FakeLive(loop)
    busy(loop, ask, live)
    live.calls.clear()
    waiting: Any = [ask(live, batch(x)) for x in (1, 2, 3)]
    assert live.calls == []
    loop.turn()
    assert live.calls == [[[1], [2], [3]]]
    assert [w.result().predictions for w in waiting] == [[2.0], [4.0], [6.0]]


def test_only_equal_signatures_are_merged(loop: FakeLoop) -> None:
    ask, live = batcher(loop), FakeLive(loop)
    busy(loop, ask, live)
    live.calls.clear()
    for more in ({}, {"at": 5}, {"version": "1"}, {"outputs": ("prediction",)}, {"at": 5}, {}):
        ask(live, batch(1, **more))
    loop.turn()
    assert sorted(len(c) for c in live.calls) == [1, 1, 2, 2]


class Flying(FakeLive):
    """Another thread is making what is asked for, as long as it is asked on the loop."""

    flying = False

    def answer_together(self, batches: Any) -> Any:
        if self.flying and not self.loop.aside_now:
            raise InFlight
        return super().answer_together(batches)


def test_what_another_thread_makes_is_waited_for_aside(loop: FakeLoop) -> None:
    ask, live = batcher(loop), Flying(loop)
    busy(loop, ask, live)
    live.calls.clear()
    live.flying = True
    alone: Any = ask(live, batch(1))
    loop.turn()
    assert live.calls == []
    assert len(loop.jobs) == 1
    others: Any = [ask(live, batch(x)) for x in (2, 3)]
    loop.turn()
    assert len(loop.jobs) == 1, "there is one worker: they wait for it"
    live.flying = False
    loop.finish_job()
    assert alone.result().predictions == [2.0]
    assert [o.result().predictions for o in others] == [[4.0], [6.0]]
    assert live.calls == [[[1]], [[2], [3]]]


def test_how_long_it_was_waited_for_says_nothing_of_calls(loop: FakeLoop) -> None:
    ask, live = batcher(loop), Flying(loop)
    busy(loop, ask, live)
    live.flying, live.once = True, 500 * MS
    found: Any = ask(live, batch(1))
    loop.turn()
    loop.finish_job()
    assert found.result().predictions == [2.0]
    assert ask.lanes["doubled"].calling.usual(1) < MS


def test_who_waits_for_another_thread_is_refused_when_its_time_is_over(loop: FakeLoop) -> None:
    ask, live = batcher(loop), Flying(loop)
    busy(loop, ask, live)
    live.flying = True
    ask(live, batch(1))
    loop.turn()
    late: Any = ask(live, batch(2, deadline=loop.time + 20 * MS))
    loop.turn()
    loop.pass_time(30 * MS)
    with pytest.raises(Expired):
        late.result()
    live.calls.clear()
    loop.finish_job()
    assert live.calls == [[[1]]], "it is not computed for nobody"


def test_a_request_that_comes_alone_is_answered_at_once(loop: FakeLoop) -> None:
    ask, live = batcher(loop), FakeLive(loop)
    found: Any = ask(live, batch(4))
    assert live.calls == [[[4]]]
    with pytest.raises(StopIteration) as done:
        next(found.__await__())
    assert done.value.value.predictions == [8.0]


def test_one_whose_client_left_is_never_computed(loop: FakeLoop) -> None:
    ask, live = batcher(loop), FakeLive(loop)
    busy(loop, ask, live)
    live.calls.clear()
    gone: Any = ask(live, batch(1))
    ask(live, batch(2))
    gone.cancel()
    loop.turn()
    assert live.calls == [[[2]]]


def test_an_error_of_the_whole_call_reaches_everybody_and_the_next_turn_works(loop: FakeLoop) -> None:
    ask, live = batcher(loop), FakeLive(loop)
    busy(loop, ask, live)
    live.broken = Invalid("no store")
    both: Any = [ask(live, batch(x)) for x in (1, 2)]
    loop.turn()
    assert [str(w.exception()) for w in both] == ["no store", "no store"]
    live.broken = None
    again: Any = [ask(live, batch(x)) for x in (1, 2)]
    loop.turn()
    assert [w.result().predictions for w in again] == [[2.0], [4.0]]


def test_another_number_of_answers_than_requests_fails_them_all(loop: FakeLoop) -> None:
    ask, live = batcher(loop), FakeLive(loop)
    busy(loop, ask, live)
    live.answer_together = lambda batches: [live.alone(batches[0])]  # type: ignore[method-assign]
    both: Any = [ask(live, batch(x)) for x in (1, 2)]
    loop.turn()
    assert [str(w.exception()) for w in both] == ["1 answers were made for 2 requests."] * 2


def test_long_calls_are_made_by_one_worker_and_what_comes_meanwhile_is_merged(loop: FakeLoop) -> None:
    ask, live = taught(loop)
    ask(live, batch(1))
    loop.turn()
    assert live.calls == []
    assert len(loop.jobs) == 1
    more: Any = [ask(live, batch(x)) for x in (2, 3)]
    loop.turn()
    assert len(loop.jobs) == 1
    loop.finish_job()
    loop.finish_job()
    assert live.calls == [[[1]], [[2], [3]]]
    assert [w.result().predictions for w in more] == [[4.0], [6.0]]


def test_a_deadline_that_passes_is_said_then_and_not_when_the_worker_is_free(loop: FakeLoop) -> None:
    ask, live = taught(loop)
    ask(live, batch(1))
    loop.turn()
    late: Any = ask(live, batch(2, deadline=loop.time + 40 * MS))
    loop.turn()
    loop.pass_time(39 * MS)
    assert not late.done()
    loop.pass_time(2 * MS)
    assert isinstance(late.exception(), Expired)
    loop.finish_job()
    assert loop.jobs == []
    assert live.calls == [[[1]]]


def test_urgent_ones_go_first_and_nobody_waits_for_ever(loop: FakeLoop) -> None:
    ask, live = taught(loop)
    ask(live, batch(0))
    loop.turn()
    for x, more in ((1, {"priority": 8}), (2, {}), (3, {"priority": 1}), (4, {"priority": 1})):
        ask(live, batch(x, at=x, **more))  # of different moments, so that they are not merged
    loop.turn()
    while loop.jobs:
        loop.finish_job()
    assert [c[0][0] for c in live.calls] == [0, 3, 4, 2, 1]
    live.calls.clear()
    ask(live, batch(0))
    loop.turn()
    ask(live, batch(1, priority=8, at=1))
    loop.turn()
    loop.time += 8 * AGE
    ask(live, batch(2, priority=1, at=2))
    loop.turn()
    while loop.jobs:
        loop.finish_job()
    assert [c[0][0] for c in live.calls] == [0, 1, 2]


def test_a_request_that_would_be_late_is_refused_with_when_to_ask_again(loop: FakeLoop) -> None:
    ask, live = taught(loop, slo=18 * MS, once=10 * MS)
    ask(live, batch(1))
    loop.turn()
    with pytest.raises(Overloaded) as refused:
        ask(live, batch(2))
    assert 3 <= refused.value.retry_ms <= 5
    assert ask.counts("doubled")["refused"] == 1
    loop.finish_job()
    ask(live, batch(3))  # nothing is in front of it
    loop.turn()
    assert len(loop.jobs) == 1


def test_a_turn_takes_on_no_more_than_it_can_answer_in_time(loop: FakeLoop) -> None:
    ask, live = batcher(loop, 20 * MS), FakeLive(loop, each=100_000)
    for _ in range(30):
        busy(loop, ask, live, 3)
        loop.pass_time(5 * MS)
    live.calls.clear()
    accepted = 0
    with pytest.raises(Overloaded):
        for _ in range(1000):
            ask(live, batch(1))
            accepted += 1
    assert 60 <= accepted <= 100, "half of the time promised, at 100 us a row"
    began = loop.time
    loop.turn()
    assert loop.time - began <= 10 * MS
    with pytest.raises(Overloaded):  # who is less urgent is refused earlier
        for _ in range(accepted - 1):
            ask(live, batch(1, priority=8))


def test_a_clock_that_jumps_does_not_stop_it(loop: FakeLoop) -> None:
    ask, live = batcher(loop, 20 * MS), FakeLive(loop, each=1000)
    for jump in (10**12, -(10**11), 10**13, -1, 0):
        busy(loop, ask, live)
        loop.turn()
        loop.time += jump
        found: Any = [ask(live, batch(x)) for x in (1, 2)]
        loop.turn()
        assert all(w.done() for w in found)
    loop.turn()
    loop.time += 10**9
    found = [ask(live, batch(x)) for x in (1, 2)]
    loop.turn()
    assert [w.result().predictions for w in found] == [[2.0], [4.0]]


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.lists(st.integers(0, 20), min_size=1, max_size=4), st.integers(0, 8),
              st.one_of(st.none(), st.integers(1, 60)), st.sampled_from([None, 7])),
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("turn")), st.tuples(st.just("job")), st.tuples(st.just("time"), st.integers(0, 40)),
    st.tuples(st.just("break"), st.booleans()), st.tuples(st.just("slow"), st.integers(0, 8)))


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60), st.sampled_from([None, 20 * MS, 200 * MS]))
def test_in_any_order_each_answer_is_the_one_alone_and_every_request_ends_once(steps: list[Any], slo: int | None) -> None:
    loop = FakeLoop()
    ask, live = batcher(loop, slo), FakeLive(loop, each=100_000)
    asked: list[tuple[Any, Any, bool]] = []
    refused = direct = 0
    for what, *more in steps:
        if what == "ask":
            xs, priority, deadline, at = more
            made = batch(*xs, priority=priority, at=at, deadline=None if deadline is None else loop.time + deadline * MS)
            try:
                found: Any = ask(live, made)
            except (Overloaded, Expired):
                refused += 1
                continue
            except Invalid:
                assert live.broken is not None
                direct += 1
                continue
            if hasattr(found, "cancel"):
                asked.append((made, found, False))
            else:
                direct += 1
                with pytest.raises(StopIteration) as done:
                    next(found.__await__())
                assert told(done.value.value) == told(live.alone(made))
        elif what == "cancel" and asked:
            asked[more[0] % len(asked)][1].cancel()
        elif what == "turn":
            loop.turn()
        elif what == "job" and loop.jobs:
            loop.finish_job()
        elif what == "time":
            loop.pass_time(more[0] * MS)
        elif what == "break":
            live.broken = Invalid("no store") if more[0] else None
        elif what == "slow":
            live.once = more[0] * MS
    for _ in range(200):
        loop.turn()
        loop.pass_time(MS)
        if loop.jobs:
            loop.finish_job()
    answered = failed = cancelled = expired = 0
    for made, waiting, _ in asked:
        assert waiting.done()
        if waiting.cancelled():
            cancelled += 1
        elif waiting.exception() is None:
            answered += 1
            assert told(waiting.result()) == told(live.alone(made))
        elif isinstance(waiting.exception(), Expired):
            expired += 1
        else:
            failed += 1
            assert str(waiting.exception()) == "no store"
    assert answered + failed + cancelled + expired + refused + direct == sum(s[0] == "ask" for s in steps)
    assert sum(len(c) for c in live.calls) <= answered + failed + cancelled + direct, "what expired is never computed"
    assert POISON in range(21)
    loop.close()
