"""What every ArtifactStore must do: run each of `checks` on an empty store.

@pytest.mark.parametrize("check", artifacts.checks, ids=lambda check: check.__name__)
def test_my_store_keeps_the_contract(check): check(MyStore(...))
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.ports.artifacts import ArtifactStore

_LARGE = 20 << 20


def what_is_put_is_read_back(store: ArtifactStore) -> None:
    for data in (b"", b"\x00", b"hello", bytes(range(256)) * 999):
        digest = _put(store, data)
        with store.get(digest) as reader:
            assert reader.read() == data


def large_bytes_are_read_back_in_small_reads(store: ArtifactStore) -> None:
    data = hashlib.shake_256(b"large").digest(_LARGE)
    found = hashlib.sha256()
    with store.get(_put(store, data)) as reader:
        while chunk := reader.read(70_001):
            assert len(chunk) <= 70_001
            found.update(chunk)
    assert found.hexdigest() == hashlib.sha256(data).hexdigest()


def putting_twice_is_putting_once(store: ArtifactStore) -> None:
    digest = _put(store, b"twice")
    assert _put(store, b"twice") == digest
    assert list(store.list()) == [digest]
    with store.get(digest) as reader:
        assert reader.read() == b"twice"


def what_is_not_there_is_not_found_and_named(store: ArtifactStore) -> None:
    digest = hashlib.sha256(b"absent").hexdigest()
    assert digest in str(_raised(NotFound, lambda: store.get(digest)))


def what_is_deleted_is_gone_and_may_be_deleted_again(store: ArtifactStore) -> None:
    digest, other = _put(store, b"one"), _put(store, b"other")
    store.delete(digest)
    store.delete(digest)
    _raised(NotFound, lambda: store.get(digest))
    assert list(store.list()) == [other]


def listing_gives_exactly_the_digests_of_a_prefix(store: ArtifactStore) -> None:
    assert list(store.list()) == []
    digests = {_put(store, str(number).encode()) for number in range(40)}
    assert sorted(store.list()) == sorted(digests)
    one = min(digests)
    for length in (0, 1, 2, 3, 4, 5, 8, 63, 64):
        assert sorted(store.list(one[:length])) == sorted(d for d in digests if d.startswith(one[:length])), length
    assert list(store.list("no digest starts so")) == []


def only_digests_are_names(store: ArtifactStore) -> None:
    upper = hashlib.sha256(b"x").hexdigest().upper()
    for name in ("", "abc", "../" * 21 + "a", "/" + "a" * 63, "a" * 65, "a" * 63 + "\n", "g" * 64, upper):
        _raised(Invalid, partial(store.put, name, io.BytesIO(b"x")))
        _raised(Invalid, partial(store.get, name))
        _raised(Invalid, partial(store.delete, name))
    assert list(store.list()) == []


def a_reader_that_fails_leaves_nothing(store: ArtifactStore) -> None:
    for size in (0, 100, _LARGE):
        digest = hashlib.sha256(str(size).encode()).hexdigest()
        broken: Any = _Breaks(size)
        assert "the source broke" in str(_raised(_SourceBroke, partial(store.put, digest, broken)))
        _raised(NotFound, partial(store.get, digest))
    assert list(store.list()) == []


def many_writers_of_one_digest_agree(store: ArtifactStore) -> None:
    data = b"together" * 10_000
    digest = hashlib.sha256(data).hexdigest()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            store.put(digest, io.BytesIO(data))
        except BaseException as failed:
            failures.append(failed)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.get(digest) as reader:
        assert reader.read() == data


checks: tuple[Callable[[ArtifactStore], None], ...] = (
    what_is_put_is_read_back,
    large_bytes_are_read_back_in_small_reads,
    putting_twice_is_putting_once,
    what_is_not_there_is_not_found_and_named,
    what_is_deleted_is_gone_and_may_be_deleted_again,
    listing_gives_exactly_the_digests_of_a_prefix,
    only_digests_are_names,
    a_reader_that_fails_leaves_nothing,
    many_writers_of_one_digest_agree,
)


class _SourceBroke(FivefoldError):
    """Raised by a source halfway."""


class _Breaks(io.RawIOBase):
    """Gives `size` bytes, then fails."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._left:
            raise _SourceBroke("the source broke.")
        count = min(self._left, len(buffer))
        buffer[:count] = bytes(count)
        self._left -= count
        return count


def _put(store: ArtifactStore, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    store.put(digest, io.BytesIO(data))
    return digest


def _raised(kind: type[BaseException], call: Callable[[], object]) -> BaseException:
    try:
        call()
    except kind as raised:
        return raised
    raise AssertionError(f"{kind.__name__} was expected, nothing was raised")
