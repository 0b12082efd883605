"""Names of spaces (`name` or `name/partition`), and what every online store checks before it writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from fivefold.core.errors import Conflict, Invalid
from fivefold.ports.online import MARK, Write

LONGEST_NAME = 255
LONGEST_PARTITION = 100
_PARTITION = re.compile(r"[A-Za-z0-9_.-]+")


@lru_cache(maxsize=4096)
def split(space: str) -> tuple[str, str]:
    """Name and partition of a space, the partition empty where there is none; raises Invalid for what is no name."""
    name, slash, partition = space.partition("/")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= LONGEST_NAME or "\x00" in name:
        raise Invalid(
            f"{space!r} is not the name of a space (accepted: 1 to {LONGEST_NAME} bytes of UTF-8 without NUL, "
            "then a slash and a partition if it has one)."
        )
    if slash and not (_PARTITION.fullmatch(partition) and len(partition) <= LONGEST_PARTITION):
        raise Invalid(
            f"{partition!r} is not the name of a partition (accepted: 1 to {LONGEST_PARTITION} of the characters "
            "A-Z, a-z, 0-9, '_', '.' and '-')."
        )
    return name, partition


def checked(writes: Sequence[Write]) -> str:
    """The one partition that all writes are to; raises Invalid for several, a space named twice, and an empty key."""
    partitions = {split(w.space)[1] for w in writes}
    if len(partitions) > 1:
        raise Invalid(
            f"one commit cannot be to the partitions {', '.join(map(repr, sorted(partitions)))}.",
            hint="Commit to each partition by itself.",
        )
    spaces = [w.space for w in writes]
    if len(set(spaces)) < len(spaces):
        raise Invalid(f"one commit writes to a space twice: {', '.join(map(repr, sorted(spaces)))}.")
    for write in writes:
        for key, _ in write.items:
            if key == MARK:
                raise empty_key(write.space)
    return partitions.pop() if partitions else ""


def empty_key(space: str) -> Invalid:
    """The error for a value without a key."""
    return Invalid(f"a key of the space {space!r} has 0 bytes: the empty key is that of the mark.")


def key_too_long(space: str, size: int, longest: int) -> Invalid:
    """The error for a key that this store cannot hold."""
    return Invalid(
        f"a key of the space {space!r} has {size} bytes (accepted: 1 to {longest}).", hint="Use a shorter entity key."
    )


def changed(space: str) -> Conflict:
    """The error for a mark that is not what the writer expected."""
    return Conflict(
        f"the space {space!r} was changed by another writer.", hint="Read its mark and values again, then decide."
    )


def after_prefix(prefix: bytes) -> bytes | None:
    """The first bytes that lie behind all that begin with `prefix`; None where nothing does."""
    whole = prefix.rstrip(b"\xff")
    return whole[:-1] + bytes([whole[-1] + 1]) if whole else None
