"""What every Broker must do: run each of `checks` on a topic that does not exist yet.

A check gets a function that opens the topic, making it with so many partitions where it is not there; whoever runs the
check closes what it opened. None of them needs an answer at once: they wait for what they were promised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from fivefold.core.errors import Conflict, FivefoldError, Invalid, Unavailable, Unsupported
from fivefold.ports.streams import Broker, Message, Record

Opener = Callable[[int | None], Broker]

LONG = 20.0


def _texts(count: int, start: int = 0) -> list[Message]:
    return [Message(b"%d" % i) for i in range(start, start + count)]


def _all(broker: Broker, partition: int, count: int, limit: int = 1000, after: int = -1) -> list[Record]:
    """The next `count` records, in pieces."""
    out: list[Record] = []
    until = time.monotonic() + LONG
    while len(out) < count and time.monotonic() < until:
        out += broker.read(partition, out[-1].offset if out else after, min(limit, count - len(out)), wait=1.0)
    return out


def _everything(broker: Broker, count: int) -> list[list[Record]]:
    """So many records of all partitions together, by partition."""
    out: list[list[Record]] = [[] for _ in range(broker.partitions())]
    until = time.monotonic() + LONG
    while sum(map(len, out)) < count and time.monotonic() < until:
        for partition, found in enumerate(out):
            found += broker.read(partition, found[-1].offset if found else -1, 700, wait=0.05)
    return out


def _raised(work: Callable[[], object]) -> FivefoldError | None:
    try:
        work()
    except FivefoldError as e:
        return e
    return None


def what_is_sent_is_read_with_all_its_parts(open: Opener) -> None:
    broker = open(None)
    sent = [
        Message(b"plain"),
        Message(b"keyed", b"k"),
        Message(b"", b"empty"),
        Message(b""),
        Message(bytes(range(256)), bytes(range(255, -1, -1))),
        Message(b"h", None, (("trace", b"1"), ("schema", b"\xff\x00"))),
        Message(b"h", b"k", (("a", b"text"), ("b", b"text too"))),
        Message(b"\x00\xfe" * (256 << 10), b"large"),
    ]
    before = time.time_ns() // 1000
    for message in sent:
        broker.append([message])
    found = _all(broker, 0, len(sent))
    # Pub/Sub keeps the order of a key only
    assert sorted((r.value, r.key or b"", r.headers) for r in found) == sorted(
        (m.value, m.key or b"", m.headers) for m in sent
    )
    assert [r.key is None for r in found].count(True) == [m.key is None for m in sent].count(True)
    # brokers have their own clocks, and some tell milliseconds only
    assert all(before - 5_000_000 <= r.at <= time.time_ns() // 1000 + 5_000_000 for r in found)


def records_of_a_key_stay_together_and_in_order(open: Opener) -> None:
    broker = open(3)
    keys = [b"k%d" % i for i in range(10)]
    for start in range(0, 300, 50):
        broker.append([Message(b"%d" % i, keys[i % 10]) for i in range(start, start + 50)])
    parts = _everything(broker, 300)
    places: dict[bytes | None, set[int]] = {}
    values: dict[bytes | None, list[int]] = {}
    for partition, found in enumerate(parts):
        for record in found:
            places.setdefault(record.key, set()).add(partition)
            values.setdefault(record.key, []).append(int(record.value))
    assert all(len(where) == 1 for where in places.values())
    assert values == {key: list(range(i, 300, 10)) for i, key in enumerate(keys)}
    assert len({next(iter(where)) for where in places.values()}) > 1


def messages_without_a_key_are_each_read_once(open: Opener) -> None:
    broker = open(3)
    broker.append(_texts(100))
    for message in _texts(20, 100):
        broker.append([message])
    values = [int(r.value) for found in _everything(broker, 120) for r in found]
    assert sorted(values) == list(range(120))


def a_partition_that_is_named_is_obeyed(open: Opener) -> None:
    broker = open(3)
    assert broker.partitions() == 3
    for partition in range(3):
        broker.append([Message(b"%d" % partition, b"same key"), Message(b"%d" % partition)], partition)
    for partition in range(3):
        assert [r.value for r in _all(broker, partition, 2)] == [b"%d" % partition] * 2
    for wrong in (-1, 3):
        assert isinstance(_raised(lambda wrong=wrong: broker.append([Message(b"")], wrong)), Invalid)  # type: ignore[misc]
        assert isinstance(_raised(lambda wrong=wrong: broker.read(wrong, -1, 1)), Invalid)  # type: ignore[misc]


def reading_again_from_any_offset_gives_the_same(open: Opener) -> None:
    broker = open(None)
    for start in (0, 1, 40, 41):
        broker.append([Message(b"%d" % i, b"k") for i in range(start, {0: 1, 1: 40, 40: 41, 41: 60}[start])])
    found = _all(broker, 0, 60)
    assert [int(r.value) for r in found] == list(range(60))
    offsets = [r.offset for r in found]
    assert offsets == sorted(set(offsets))
    assert offsets[0] >= 0
    for place in (59, 0, 17, 16, 40, 39, 41, 58, 5):
        after = found[place - 1].offset if place else -1
        assert _all(broker, 0, 60 - place, after=after) == found[place:]
        for limit in (1, 3, 100):
            some = broker.read(0, after, limit, wait=LONG)
            assert 1 <= len(some) <= limit
            assert some == found[place : place + len(some)]
    assert broker.read(0, offsets[-1], 10) == []


def partitions_are_read_in_any_turn(open: Opener) -> None:
    broker = open(2)
    for partition in (0, 1):
        broker.append([Message(b"%d %d" % (partition, i), b"k") for i in range(200)], partition)
    seen: list[list[bytes]] = [[], []]
    last = [-1, -1]
    for turn in range(400):
        partition = turn % 2
        for record in broker.read(partition, last[partition], 7, wait=0.05):
            seen[partition].append(record.value)
            last[partition] = record.offset
        if len(seen[0]) == len(seen[1]) == 200:
            break
    assert seen == [[b"%d %d" % (partition, i) for i in range(200)] for partition in (0, 1)]


def an_empty_topic_has_nothing_to_read(open: Opener) -> None:
    broker = open(2)
    broker.append([])
    for partition in (0, 1):
        assert broker.read(partition, -1, 10) == []
        assert broker.read(partition, -1, 10, wait=0.05) == []
        oldest, newest = broker.bounds(partition)
        assert newest == oldest - 1


def a_reader_that_waits_is_woken_by_the_first_record(open: Opener) -> None:
    broker, other = open(None), open(None)

    def send() -> None:
        time.sleep(0.3)
        other.append([Message(b"at last")])

    sender = threading.Thread(target=send)
    began = time.monotonic()
    sender.start()
    found = broker.read(0, -1, 10, wait=LONG)
    took = time.monotonic() - began
    sender.join()
    assert [r.value for r in found] == [b"at last"]
    assert took < LONG / 2


def two_that_opened_it_see_the_same(open: Opener) -> None:
    one, other = open(2), open(None)
    assert one.partitions() == other.partitions() == 2
    one.append([Message(b"1")], 1)
    other.append([Message(b"2")], 1)
    both = _all(one, 1, 2)
    assert sorted(r.value for r in both) == [b"1", b"2"]
    assert _all(other, 1, 2) == both


def bounds_name_the_oldest_and_the_newest(open: Opener) -> None:
    broker = open(2)
    broker.append([Message(b"%d" % i, b"k") for i in range(30)], 1)
    found = _all(broker, 1, 30)
    assert broker.bounds(1) == (found[0].offset, found[-1].offset)
    oldest, newest = broker.bounds(0)
    assert newest == oldest - 1
    assert isinstance(_raised(lambda: broker.bounds(2)), Invalid)


def an_offset_that_was_never_written_is_a_conflict(open: Opener) -> None:
    broker = open(None)
    broker.append(_texts(3))
    found = _all(broker, 0, 3)
    wrong = _raised(lambda: broker.read(0, found[-1].offset + 1000, 10, wait=0.1))
    assert isinstance(wrong, Conflict)
    assert str(found[-1].offset) in str(wrong)
    # and it goes on from where it should
    assert broker.read(0, found[0].offset, 10, wait=LONG)[:1] == found[1:2]


def many_records_are_read_once_each_in_pieces(open: Opener) -> None:
    broker = open(None)
    sent = [Message(b"%d" % i + b" " * (i % 300), b"k%d" % (i % 3)) for i in range(5000)]
    broker.append(sent)
    found = _all(broker, 0, 5000, limit=333)
    assert sorted(int(r.value) for r in found) == list(range(5000))
    for key in range(3):
        numbers = [int(r.value) for r in found if r.key == b"k%d" % key]
        assert numbers == sorted(numbers)
    assert broker.read(0, found[-1].offset, 10) == []


def many_append_at_once_and_nothing_is_lost(open: Opener) -> None:
    brokers: Sequence[Broker] = [open(1) for _ in range(3)]
    reader = open(None)

    def send(number: int) -> None:
        for start in range(0, 100, 10):
            brokers[number].append([Message(b"%d" % i, b"w%d" % number) for i in range(start, start + 10)])

    senders = [threading.Thread(target=send, args=(i,)) for i in range(3)]
    for sender in senders:
        sender.start()
    found = _all(reader, 0, 300)
    for sender in senders:
        sender.join()
    for number in range(3):
        assert [int(r.value) for r in found if r.key == b"w%d" % number] == list(range(100))


def messages_are_sent_behind_an_offset_all_or_none(open: Opener) -> None:
    one, other = open(2), open(None)
    try:
        newest = one.append_behind(_texts(3), 1, one.bounds(1)[1])
    except Unsupported:
        return
    assert [r.value for r in _all(other, 1, 3)] == [b"0", b"1", b"2"]
    assert newest == one.bounds(1)[1] == other.bounds(1)[1] >= 2
    behind = other.append_behind([Message(b"keyed", b"k", (("h", b"1"),))], 1, newest)
    # the first one does not know of it, and changes nothing
    assert isinstance(_raised(lambda: one.append_behind(_texts(2), 1, newest)), Conflict)
    assert isinstance(_raised(lambda: other.append_behind(_texts(2), 0, 5)), Conflict)
    one.append([Message(b"plain")], 1)
    assert isinstance(_raised(lambda: other.append_behind(_texts(2), 1, behind)), Conflict)
    one.append_behind(_texts(1, 9), 1, one.bounds(1)[1])
    found = _all(one, 1, 6)
    assert [r.value for r in found] == [b"0", b"1", b"2", b"keyed", b"plain", b"9"]
    assert (found[3].key, found[3].headers) == (b"k", (("h", b"1"),))
    assert _all(other, 0, 0) == []


def another_number_of_partitions_is_a_conflict(open: Opener) -> None:
    assert open(3).partitions() == 3
    assert open(None).partitions() == 3
    wrong = _raised(lambda: open(2))
    assert isinstance(wrong, Conflict)
    assert "3 partitions, not 2" in str(wrong)
    assert "partitions=3" in str(wrong)


def a_topic_that_was_closed_says_so(open: Opener) -> None:
    broker, other = open(None), open(None)
    broker.append([Message(b"1")])
    found = _all(broker, 0, 1)
    broker.done(0, found[0].offset)
    broker.close()
    broker.close()
    assert isinstance(_raised(lambda: broker.append([Message(b"2")])), Unavailable)
    assert isinstance(_raised(lambda: broker.read(0, -1, 1)), Unavailable)
    assert [r.value for r in _all(other, 0, 1)] == [b"1"]


checks: tuple[Callable[[Opener], None], ...] = (
    what_is_sent_is_read_with_all_its_parts,
    records_of_a_key_stay_together_and_in_order,
    messages_without_a_key_are_each_read_once,
    a_partition_that_is_named_is_obeyed,
    reading_again_from_any_offset_gives_the_same,
    partitions_are_read_in_any_turn,
    an_empty_topic_has_nothing_to_read,
    a_reader_that_waits_is_woken_by_the_first_record,
    two_that_opened_it_see_the_same,
    bounds_name_the_oldest_and_the_newest,
    an_offset_that_was_never_written_is_a_conflict,
    many_records_are_read_once_each_in_pieces,
    many_append_at_once_and_nothing_is_lost,
    messages_are_sent_behind_an_offset_all_or_none,
    another_number_of_partitions_is_a_conflict,
    a_topic_that_was_closed_says_so,
)
