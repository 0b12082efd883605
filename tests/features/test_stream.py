"""Events as states take them: the same values as history reads from the archive."""

from __future__ import annotations

import pyarrow as pa
import pytest

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.errors import Conflict
from fivefold.core.types import Type
from fivefold.features.entity_keys import key_bytes
from fivefold.features.state.mark import Mark, mark_of, partition_space
from fivefold.features.state.value import Values
from fivefold.features.stream import Fed, catch_up, fed, feed
from fivefold.ports.online import OnlineStore

SCHEMA = {"at": Type.TIMESTAMP, "who": Type.STRING, "x": Type.FLOAT64, "n": Type.INT64}
PAST = ff.Table("past", "past.csv", time="at", schema={"at": "timestamp", "who": str, "x": float, "n": int})
SALES = ff.Stream("sales", schema={"who": str, "x": int, "n": int}, time="at", history=PAST)
VIEW = ff.FeatureView("v", ff.Entity("who", key="who"), SALES, [ff.last("x"), ff.sum("n"), ff.sum("x"), ff.count()])
PAST_MARK = Mark(0, "made", stream="sales", cut={0: 4})


def view() -> Fed:
    return fed("v@1", VIEW, {"past": SCHEMA}, {"past": {"x": -30}}, lambda mark, events: events)


def events(*rows: tuple[int, str | None, int | None, int | None]) -> pa.Table:
    at, who, x, n = zip(*rows, strict=True)
    return pa.table({"at": pa.array(at, pa.int64()).cast(pa.timestamp("us")), "who": pa.array(who, pa.string()),
                     "x": pa.array(x, pa.int64()), "n": pa.array(n, pa.int64())})


def values(store: OnlineStore, at: int) -> list[object]:
    one = view()
    (raw,) = store.get([(partition_space("v@1", PAST_MARK, 0), key_bytes(["a"]))])
    assert raw is not None
    return [found.value for found in Values(one.kept).of([(raw, lambda refs: [])], at)]


def test_a_whole_number_that_a_float_cannot_hold_is_rounded_to_the_nearest() -> None:
    store = connect(OnlineStore, "memory:")
    catch_up(store, view(), PAST_MARK, 0, [(5, 0, events((1, "a", 2**53 + 3, 7)))])
    assert values(store, 10)[0] == float(2**53 + 4)


def test_an_event_without_a_key_is_of_nobody() -> None:
    store = connect(OnlineStore, "memory:")
    catch_up(store, view(), PAST_MARK, 0, [(5, 0, events((1, None, 1, 1), (2, "a", 3, 4)))])
    assert values(store, 10) == [3.0, 4, 0.0, 1]
    space = partition_space("v@1", PAST_MARK, 0)
    assert len(list(store.scan(space))) == 1


def test_what_is_held_already_is_not_taken_again() -> None:
    store = connect(OnlineStore, "memory:")
    batches = [(4, 0, events((1, "a", 1, 1))), (5, 0, events((2, "a", 2, 2))), (6, 3, events((3, "a", 3, 3)))]
    assert catch_up(store, view(), PAST_MARK, 0, batches) == 6
    assert catch_up(store, view(), PAST_MARK, 0, batches) == 6
    assert values(store, 10)[3] == 2
    held = mark_of(store, partition_space("v@1", PAST_MARK, 0))
    assert held is not None
    assert (held.applied, held.since) == (6, 3)


def test_a_batch_without_events_moves_the_mark_alone() -> None:
    store = connect(OnlineStore, "memory:")
    write = feed(store, view(), PAST_MARK, 0, None, Mark(0, "made", applied=9), None)
    store.commit([write])
    assert not write.items
    with pytest.raises(Conflict):
        store.commit([write])


@pytest.mark.parametrize(("column", "scale", "largest"), [("x", 0, 2.0**40 - 0.5), ("x", 20, 2.0**20 - 2.0**-21), ("n", 0, 2.0**40)])
def test_the_limit_of_a_sum_is_what_would_be_rounded_up_to_it(column: str, scale: int, largest: float) -> None:
    one = fed("v@1", VIEW, {"past": SCHEMA}, {"past": {"x": scale}}, lambda mark, events: events)
    assert one.limits()[column] == largest
    if column == "x":
        assert round(largest * 2.0**scale) == 2**40
