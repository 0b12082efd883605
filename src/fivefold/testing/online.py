"""What every OnlineStore must do: run each of `checks` on an empty store, and each of `checks_of_two` on two handles
of one that is empty, where a store can be opened twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fivefold.core.errors import Conflict, FivefoldError, Invalid
from fivefold.ports.online import MARK, OnlineStore, Write


def what_is_put_is_got_in_the_order_asked(store: OnlineStore) -> None:
    assert store.replace("v", [(b"b", b"2"), (b"a", b"1")], b"m") == 2
    assert store.get([("v", b"a"), ("v", b"x"), ("v", b"b"), ("w", b"a"), ("v", MARK)]) == [
        b"1",
        None,
        b"2",
        None,
        b"m",
    ]
    assert store.get([]) == []


def replacing_leaves_nothing_of_what_was(store: OnlineStore) -> None:
    store.replace("v", [(b"a", b"1"), (b"b", b"2")], b"m1")
    store.replace("v", [(b"b", b"3")], b"m2")
    assert store.get([("v", b"a"), ("v", b"b"), ("v", MARK)]) == [None, b"3", b"m2"]


def spaces_do_not_touch_each_other(store: OnlineStore) -> None:
    # one name is the beginning of the other
    store.replace("v", [(b"a", b"1")], b"m")
    store.replace("va", [(b"a", b"2")], b"m")
    store.replace("v", [], b"n")
    assert store.get([("va", b"a"), ("v", b"a"), ("v", MARK)]) == [b"2", None, b"n"]
    assert store.spaces() == ["v", "va"]
    store.drop("v")
    store.drop("v")
    assert store.spaces() == ["va"]
    assert store.get([("v", MARK), ("va", b"a")]) == [None, b"2"]


def any_bytes_are_kept(store: OnlineStore) -> None:
    items = [(bytes([i, 0, 255 - i]), bytes(range(256)) * i) for i in range(40)]
    items += [(b"\x00", b""), (b"\xff" * 200, b"\xff"), (b"\xff\x00", b"\r\n"), (b"{a}:*", b"\x00" * 9)]
    for space in ("v", "größe 1:{x}*@", "v/p.-_1"):
        assert store.replace(space, items, b"\x00") == len(items)
        assert store.get([(space, k) for k, _ in items]) == [value for _, value in items]
        assert list(store.scan(space)) == sorted(items)
        store.commit([Write(space, [(k, k) for k, _ in items], b"", b"\x00")])
        assert store.get([(space, k) for k in (MARK, *(k for k, _ in items))]) == [b"", *(k for k, _ in items)]
    assert store.get([("v", b"k" * 3_000)]) == [None]


def a_megabyte_is_a_value(store: OnlineStore) -> None:
    values = [bytes([i]) * (1 << 20) for i in range(12)]
    store.replace("v", [(bytes([i + 1]), value) for i, value in enumerate(values)], b"m")
    assert store.get([("v", bytes([i + 1])) for i in range(12)]) == values
    store.commit([Write("v/p", [(bytes([i + 1]), value) for i, value in enumerate(values)], b"m", None)])
    assert [value for _, value in store.scan("v/p")] == values


def the_last_of_two_values_of_a_key_counts(store: OnlineStore) -> None:
    assert store.replace("v", [(b"a", b"1"), (b"b", b"1"), (b"a", b"2")], b"m") == 2
    store.commit([Write("v", [(b"b", None), (b"b", b"3"), (b"c", b"1"), (b"c", None)], b"n", b"m")])
    assert list(store.scan("v")) == [(b"a", b"2"), (b"b", b"3")]


def a_large_space_fits(store: OnlineStore) -> None:
    value = b"x" * 3_000
    assert store.replace("big", ((b"%07d" % i, value) for i in range(120_000)), b"m") == 120_000
    assert store.get([("big", b"0119999")]) == [value]


def a_reader_sees_one_commit(store: OnlineStore) -> None:
    store.replace("v", [(b"a", b"0"), (b"b", b"0")], b"0")
    over = threading.Event()

    def write() -> None:
        for i in range(1, 300):
            text = str(i).encode()
            store.replace("v", [(b"a", text), (b"b", text)], text)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        assert len(set(store.get([("v", b"a"), ("v", b"b"), ("v", MARK)]))) == 1
    writer.join()


def a_commit_changes_what_it_names_and_nothing_else(store: OnlineStore) -> None:
    store.commit([Write("v/p", [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")], b"m1", None)])
    store.commit([Write("v/p", [(b"b", b"4"), (b"c", None), (b"never", None), (b"d", b"5")], b"m2", b"m1")])
    assert store.get([("v/p", k) for k in (b"a", b"b", b"c", b"d", MARK)]) == [b"1", b"4", None, b"5", b"m2"]
    assert list(store.scan("v/p")) == [(b"a", b"1"), (b"b", b"4"), (b"d", b"5")]
    store.commit([Write("v/p", [], b"m3", b"m2")])
    assert store.get([("v/p", MARK), ("v/p", b"a")]) == [b"m3", b"1"]
    store.commit([])


def a_commit_of_several_spaces_is_all_or_nothing(store: OnlineStore) -> None:
    store.commit([Write("a/p", [(b"k", b"1")], b"1", None), Write("b/p", [(b"k", b"1")], b"1", None)])
    pairs = [("a/p", b"k"), ("a/p", MARK), ("b/p", b"k"), ("b/p", MARK)]
    assert store.get(pairs) == [b"1"] * 4
    # the space that is not as expected is the last one: the changes to the first must not be there
    stale = Write("b/p", [(b"k", b"2"), (b"other", b"2")], b"2", b"0")
    assert "'b/p'" in str(_refused(Conflict, store, [Write("a/p", [(b"k", None)], b"2", b"1"), stale]))
    assert store.get(pairs) == [b"1"] * 4
    assert list(store.scan("b/p")) == [(b"k", b"1")]


def a_space_is_expected_to_hold_nothing_or_what_it_holds(store: OnlineStore) -> None:
    _refused(Conflict, store, [Write("v", [(b"k", b"1")], b"1", b"0")])
    assert store.spaces() == []
    assert store.get([("v", b"k")]) == [None]
    store.commit([Write("v", [(b"k", b"1")], b"1", None)])
    _refused(Conflict, store, [Write("v", [(b"k", b"2")], b"2", None)])
    _refused(Conflict, store, [Write("v", [(b"k", b"2")], b"2", b"")])
    assert store.get([("v", b"k"), ("v", MARK)]) == [b"1", b"1"]
    # what was replaced or dropped meanwhile is seen as well
    store.replace("v", [(b"k", b"3")], b"3")
    _refused(Conflict, store, [Write("v", [], b"2", b"1")])
    store.drop("v")
    _refused(Conflict, store, [Write("v", [], b"4", b"3")])
    store.commit([Write("v", [(b"j", b"")], b"", None)])
    assert store.get([("v", b"j"), ("v", b"k"), ("v", MARK)]) == [b"", None, b""]
    store.commit([Write("v", [], b"5", b"")])


def what_cannot_be_one_commit_is_invalid(store: OnlineStore) -> None:
    for wrong in (
        [Write("a/p", [], b"m", None), Write("a/q", [], b"m", None)],
        [Write("a", [], b"m", None), Write("a/q", [], b"m", None)],
        [Write("a", [], b"m", None), Write("a", [], b"n", None)],
        [Write("b", [], b"m", None), Write("a", [(MARK, b"1")], b"m", None)],
        *([Write(name, [], b"m", None)] for name in ("", "a\x00b", "/p", "a/", "a/p/q", "a/ü", "a/\n", "n" * 300)),
    ):
        _refused(Invalid, store, wrong)
    assert store.spaces() == []


def spaces_of_partitions_stand_by_themselves(store: OnlineStore) -> None:
    # labels that a folder, a pattern or a sorted list of names could take for something else
    names = ["v", *(f"v/{p}" for p in ("0", "1", "10", "a", "A", "b", "base", ".", "..", "-", "p-1", "x" * 100))]
    for name in names:
        store.commit([Write(name, [(b"k", name.encode())], b"m", None)])
    store.replace("w/1", [], b"m")
    assert store.spaces() == sorted([*names, "w/1"])
    assert store.get([(name, b"k") for name in names]) == [name.encode() for name in names]
    assert [list(store.scan(name)) for name in names] == [[(b"k", name.encode())] for name in names]
    for name in names[1:]:
        store.drop(name)
    assert store.spaces() == ["v", "w/1"]
    assert store.get([("v", b"k"), ("v/1", b"k"), ("never/there", b"k")]) == [b"v", None, None]


def many_pairs_of_several_partitions_are_got_in_order(store: OnlineStore) -> None:
    for p in range(3):
        store.replace(f"v/{p}", [(b"%d" % i, b"%d of %d" % (i, p)) for i in range(500)], b"m%d" % p)
    # no order to the partitions, and one pair in five is not there
    pairs = [(f"v/{i * 7 % 3}", b"%d" % (i if i % 5 else 1000 + i)) for i in range(500)]
    expected = [b"%d of %d" % (i, i * 7 % 3) if i % 5 else None for i in range(500)]
    assert store.get(pairs) == expected
    assert store.get([*pairs, ("v/2", MARK), ("v/0", MARK), *pairs]) == [*expected, b"m2", b"m0", *expected]


def a_scan_is_in_the_order_of_bytes(store: OnlineStore) -> None:
    keys = [b"b", b"a", b"a\x00", b"a\x00\x00", b"a\xff", b"a\xff\xff", b"aa", b"\x00", b"\xff", b"\xff\xff"]
    store.replace("v/p", [(key, key[::-1]) for key in keys], b"m")
    store.replace("va/p", [(b"other", b"")], b"m")
    store.replace("v", [(b"other", b"")], b"m")

    def seen(after: bytes = MARK, prefix: bytes = b"") -> list[bytes]:
        found = list(store.scan("v/p", after, prefix))
        assert all(value == key[::-1] for key, value in found)
        return [key for key, _ in found]

    for prefix in (b"", b"a", b"a\x00", b"a\xff", b"\xff", b"\xff\xff", b"z", b"\x00", b"a" * 2_000):
        for after in (MARK, b"a", b"a\x00", b"aa", b"\xff\xff", b"\x00", b"c", b"\xff" * 2_000):
            assert seen(after, prefix) == sorted(k for k in keys if k.startswith(prefix) and k > after)
    store.commit([Write("v/p", [(b"aa", None), (b"ab", b"ba")], b"n", b"m")])
    assert seen(b"a\x01", b"a") == [b"ab", b"a\xff", b"a\xff\xff"]


def a_scan_of_nothing_is_empty(store: OnlineStore) -> None:
    assert list(store.scan("v")) == []
    assert list(store.scan("v/p", b"a", b"b")) == []
    store.replace("v", [], b"m")
    assert list(store.scan("v")) == []


def what_is_written_during_a_scan_does_not_disturb_it(store: OnlineStore) -> None:
    keys = [b"%06d" % i for i in range(5_000)]
    store.replace("v", [(key, b"1") for key in keys], b"m")
    seen = []
    for i, (key, _) in enumerate(store.scan("v")):
        seen.append(key)
        if i % 500 == 0:
            store.commit([Write("v", [(key + b"+", b"2"), (key, b"2"), (b"9", b""), (keys[-1], None)], b"m", b"m")])
    assert seen == sorted(set(seen))
    assert set(keys[:-1]) <= set(seen)
    assert store.get([("v", keys[-1]), ("v", keys[0]), ("v", keys[1])]) == [None, b"2", b"1"]


def of_commits_with_one_expectation_one_wins_in_one_handle(store: OnlineStore) -> None:
    _race(store, store)


def readers_of_several_spaces_see_one_commit(store: OnlineStore) -> None:
    spaces = ["a/p", "b/p", "c/p"]
    over = threading.Event()
    wrong: list[FivefoldError] = []

    def write() -> None:
        last = None
        try:
            for i in range(150):
                mark = b"%d" % i
                store.commit([Write(space, [(b"k", mark), (b"l", mark)], mark, last) for space in spaces])
                last = mark
        except FivefoldError as e:
            wrong.append(e)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        found = store.get([(space, key) for key in (b"k", MARK, b"l") for space in spaces])
        assert len(set(found)) == 1, found
    writer.join()
    assert not wrong


def two_handles_see_each_other(one: OnlineStore, other: OnlineStore) -> None:
    assert other.get([("v", b"k"), ("v/p", b"k")]) == [None, None]
    assert other.spaces() == []
    one.commit([Write("v/p", [(b"k", b"1")], b"m", None)])
    assert other.get([("v", b"k"), ("v/p", b"k")]) == [None, b"1"]
    one.replace("v", [(b"k", b"2")], b"m")
    assert other.get([("v", b"k"), ("v/p", b"k")]) == [b"2", b"1"]
    assert other.spaces() == ["v", "v/p"]
    _refused(Conflict, other, [Write("v/p", [], b"n", None)])
    other.commit([Write("v/p", [(b"k", None)], b"n", b"m")])
    assert list(one.scan("v/p")) == []
    one.close()
    one.close()
    assert other.get([("v", b"k"), ("v/p", MARK)]) == [b"2", b"n"]
    other.drop("v")
    assert other.spaces() == ["v/p"]


def of_commits_through_two_handles_one_wins(one: OnlineStore, other: OnlineStore) -> None:
    _race(one, other)


def _race(*stores: OnlineStore) -> None:
    """Threads that commit with the same expectation, round after round, the first to a space that is not there."""
    rounds = 40
    won: list[list[int]] = [[], []]
    wrong: list[BaseException] = []
    line = threading.Barrier(2, timeout=60)

    def run(me: int, store: OnlineStore) -> None:
        try:
            for i in range(rounds):
                line.wait()
                expected = b"%d" % i if i else None
                writes = [Write(s, [(b"%d" % me, b"%d" % i)], b"%d" % (i + 1), expected) for s in ("a/p", "b/p")]
                try:
                    store.commit(writes)
                    won[me].append(i)
                except Conflict:
                    pass
        except BaseException as e:
            wrong.append(e)
            line.abort()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    assert sorted(won[0] + won[1]) == list(range(rounds))
    last = [b"%d" % w[-1] if w else None for w in won]
    assert stores[0].get([("a/p", b"0"), ("a/p", b"1"), ("b/p", b"0"), ("b/p", b"1")]) == last * 2


def _refused(error: type[FivefoldError], store: OnlineStore, writes: list[Write]) -> FivefoldError:
    try:
        store.commit(writes)
    except error as e:
        return e
    raise AssertionError(f"{error.__name__} was expected of {writes}")


checks: tuple[Callable[[OnlineStore], None], ...] = (
    what_is_put_is_got_in_the_order_asked,
    replacing_leaves_nothing_of_what_was,
    spaces_do_not_touch_each_other,
    any_bytes_are_kept,
    a_megabyte_is_a_value,
    the_last_of_two_values_of_a_key_counts,
    a_large_space_fits,
    a_reader_sees_one_commit,
    a_commit_changes_what_it_names_and_nothing_else,
    a_commit_of_several_spaces_is_all_or_nothing,
    a_space_is_expected_to_hold_nothing_or_what_it_holds,
    what_cannot_be_one_commit_is_invalid,
    spaces_of_partitions_stand_by_themselves,
    many_pairs_of_several_partitions_are_got_in_order,
    a_scan_is_in_the_order_of_bytes,
    a_scan_of_nothing_is_empty,
    what_is_written_during_a_scan_does_not_disturb_it,
    of_commits_with_one_expectation_one_wins_in_one_handle,
    readers_of_several_spaces_see_one_commit,
)

checks_of_two: tuple[Callable[[OnlineStore, OnlineStore], None], ...] = (
    two_handles_see_each_other,
    of_commits_through_two_handles_one_wins,
)
