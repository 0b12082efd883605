"""What every OnlineStore must do: run each of `checks` on an empty store."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fivefold.ports.online import MARK, OnlineStore


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


def views_do_not_touch_each_other(store: OnlineStore) -> None:
    # one name is the beginning of the other
    store.replace("v", [(b"a", b"1")], b"m")
    store.replace("va", [(b"a", b"2")], b"m")
    store.replace("v", [], b"n")
    assert store.get([("va", b"a"), ("v", b"a"), ("v", MARK)]) == [b"2", None, b"n"]
    assert store.views() == ["v", "va"]
    store.drop("v")
    store.drop("v")
    assert store.views() == ["va"]
    assert store.get([("v", MARK), ("va", b"a")]) == [None, b"2"]


def any_bytes_are_kept(store: OnlineStore) -> None:
    items = [(bytes([i, 0, 255 - i]), bytes(range(256)) * (i + 1)) for i in range(1, 40)]
    store.replace("v", items, b"\x00")
    assert store.get([("v", k) for k, _ in items]) == [value for _, value in items]


def a_large_view_fits(store: OnlineStore) -> None:
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


checks: tuple[Callable[[OnlineStore], None], ...] = (
    what_is_put_is_got_in_the_order_asked,
    replacing_leaves_nothing_of_what_was,
    views_do_not_touch_each_other,
    any_bytes_are_kept,
    a_large_view_fits,
    a_reader_sees_one_commit,
)
