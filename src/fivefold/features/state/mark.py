"""What a space of the online store holds: of which view, from which rows, for queries from which moment on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fivefold.ports.online import MARK, OnlineStore


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The mark of a space. Times are microseconds UTC.

    A view's own space holds its past: the rows of the snapshot `snapshot`, for queries from `since` on. If the view is
    fed by a stream, `cut` gives by partition the offset up to which the snapshot holds the stream's events; what came
    later is in a space for each partition, whose mark says in `applied` how far it has come.
    """

    since: int
    made_of: str
    snapshot: str = ""
    entities: int = 0
    stream: str = ""
    cut: Mapping[int, int] = {}
    applied: int = -1


write_mark = msgspec.msgpack.Encoder().encode
read_mark = msgspec.msgpack.Decoder(Mark).decode


def mark_of(store: OnlineStore, space: str) -> Mark | None:
    """What a space holds, None when there is nothing."""
    (found,) = store.get([(space, MARK)])
    return read_mark(found) if found is not None else None


def partition_space(name: str, stream: str, partition: int) -> str:
    """Where a view's state of the events of one stream partition lies; all views of it are written together."""
    return f"{name}/{stream}.{partition}"


def spaces_of(name: str, mark: Mark) -> list[str]:
    """All spaces that a view's values are made from, its own first."""
    return [name, *(partition_space(name, mark.stream, p) for p in sorted(mark.cut))]
