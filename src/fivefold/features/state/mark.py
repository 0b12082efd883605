"""What a space of the online store holds: of which view, from which rows, for queries from which moment on.

A view has, under its name, only a mark; its past is in the space of the mark's generation, and what a stream brought
since in one space a partition of the stream. A new generation is made beside the one in use and takes its place when
the mark does.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fivefold.ports.online import MARK, OnlineStore


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The mark of a view's space. Times are microseconds UTC.

    Its past is the rows of the snapshot `snapshot`, for queries from `since` on; of those of its parts that `pending`
    lists, by place in the snapshot, only so many rows, which are then the first ones. If the view is fed by a stream,
    `cut` gives by partition the offset up to which the snapshot holds the stream's events. The mark of a partition's
    space says in `applied` how far it has come. `kind` digests what states mean, whatever rows they are made of.
    """

    since: int
    made_of: str
    snapshot: str = ""
    entities: int = 0
    stream: str = ""
    cut: Mapping[int, int] = {}
    applied: int = -1
    kind: str = ""
    pending: tuple[tuple[int, int], ...] = ()


class Built(msgspec.Struct, frozen=True, array_like=True):
    """The mark of a generation's space: `done` of its source's parts (of entities) are in, parted as `how` says."""

    how: str = ""
    done: int = 0
    entities: int = 0
    whole: bool = False


write_built = msgspec.msgpack.Encoder().encode
read_built = msgspec.msgpack.Decoder(Built).decode
write_mark = msgspec.msgpack.Encoder().encode
read_mark = msgspec.msgpack.Decoder(Mark).decode


def with_partitions(mark: Mark, raw: bytes | None) -> Mark:
    """A mark of a view that also lists the partitions that the mark it takes the place of does."""
    held = None if raw is None else read_mark(raw)
    if held is None or held.stream != mark.stream or not held.cut.keys() - mark.cut.keys():
        return mark
    # what the snapshot holds of a stream, it lists: of these it holds nothing
    return msgspec.structs.replace(mark, cut={**dict.fromkeys(held.cut, -1), **mark.cut})


def mark_of(store: OnlineStore, space: str) -> Mark | None:
    """What a space holds, None when there is nothing."""
    (found,) = store.get([(space, MARK)])
    return read_mark(found) if found is not None else None


def past_space(name: str, mark: Mark) -> str:
    """Where the values of a view's past lie."""
    return f"{name}~{mark.made_of[:12]}"


def partition_space(name: str, mark: Mark, partition: int) -> str:
    """Where a view's state of the events of one stream partition lies: with all else of that partition."""
    return f"{past_space(name, mark)}/{mark.stream}.{partition}"


def spaces_of(name: str, mark: Mark) -> list[str]:
    """All spaces that a view's values are made from, that of its past first."""
    return [past_space(name, mark), *(partition_space(name, mark, p) for p in sorted(mark.cut))]


def view_of(space: str) -> str:
    """The name, with its meaning, of the view that a space belongs to."""
    return space.partition("/")[0].partition("~")[0]
