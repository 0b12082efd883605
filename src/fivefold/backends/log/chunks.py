"""Records of one append, packed together as one value of LMDB: a header, then their parts as MessagePack columns."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import NamedTuple

import msgspec

from fivefold.ports.streams import Message, Record

# larger values need longer runs of free pages, which LMDB finds ever more slowly; smaller ones cost a look-up each
LARGEST_CHUNK = 64 << 10

_HEADER = struct.Struct("<qI")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(
    tuple[list[bytes], list[bytes | None] | None, list[tuple[tuple[str, bytes], ...]] | None]
).decode
# the constructor of a named tuple is Python; this one is C and takes what `zip` gives
_record = partial(tuple.__new__, Record)


class Chunk(NamedTuple):
    records: int
    packed: bytes


def pack(messages: Sequence[Message], at: int) -> list[Chunk]:
    """Messages in chunks, none of them large unless a message is. Raises TypeError for what is not bytes."""
    sizes = [len(m.value) for m in messages]
    if sum(sizes) <= LARGEST_CHUNK:
        return [_packed(messages, at)] if messages else []
    out = []
    start = size = 0
    for place, more in enumerate(sizes):
        if size + more > LARGEST_CHUNK and place > start:
            out.append(_packed(messages[start:place], at))
            start, size = place, 0
        size += more
    out.append(_packed(messages[start:], at))
    return out


def _packed(messages: Sequence[Message], at: int) -> Chunk:
    values, keys, headers = zip(*messages, strict=True)
    # a text would be packed as one, and never be read as bytes again
    b"".join(values)
    some_keys = None if keys.count(None) == len(keys) else keys
    if some_keys:
        b"".join(key for key in keys if key is not None)
    columns = (values, some_keys, headers if any(headers) else None)
    return Chunk(len(values), _HEADER.pack(at, len(values)) + _encode(columns))


def heading(packed: memoryview) -> tuple[int, int]:
    """When the records of a chunk came, and how many they are."""
    at, count = _HEADER.unpack_from(packed)
    return at, count


def unpack(packed: memoryview, last: int, after: int, limit: int) -> list[Record]:
    """At most `limit` records of a chunk above the offset `after`; the chunk's newest has the offset `last`."""
    at, count = _HEADER.unpack_from(packed)
    values, keys, headers = _decode(packed[_HEADER.size :])
    first = last - count + 1
    # left away are those at or below `after`, and those beyond the limit
    low = max(0, after + 1 - first)
    high = min(count, low + limit)
    if high - low < count:
        values = values[low:high]
        keys = keys and keys[low:high]
        headers = headers and headers[low:high]
    rows = zip(range(first + low, first + high), values, keys or repeat(None), headers or repeat(()), repeat(at))
    return list(map(_record, rows))
