"""What the backends of streams share: the settings in a topic's URL, and which partition takes a message."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from fivefold.core.errors import Conflict, Invalid, did_you_mean
from fivefold.core.time import duration
from fivefold.ports.streams import Message

MOST_PARTITIONS = 1024
LONGEST_TIMEOUT = 3600

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,248}")
_SIZE = re.compile(r"(\d+)\s*([kmgt]?)b?", re.IGNORECASE)
_POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class Settings(msgspec.Struct, frozen=True):
    """What a URL asks for; None and 0 stand for what it does not say. `retention` is in microseconds."""

    partitions: int | None = None
    retention: int = 0
    max_bytes: int = 0
    max_records: int = 0
    rest: Mapping[str, str] = {}


def settings(query: Mapping[str, str], where: str, accepted: Sequence[str]) -> Settings:
    """The settings of a query. Raises Invalid, naming `where`, for an unknown one and for a wrong value.

    `accepted` names what this backend knows; those that are no field of `Settings` come back in `rest`.
    """
    found: dict[str, int] = {}
    rest = {}
    for name, text in query.items():
        if name not in accepted:
            raise Invalid(
                f"{where}: no setting {name!r} (have: {', '.join(accepted)}).", hint=did_you_mean(name, accepted)
            )
        if name in _READERS:
            found[name] = _READERS[name](text, f"{where}, {name}")
        else:
            rest[name] = text
    return Settings(**found, rest=rest)


def topic_name(name: str, where: str) -> str:
    """The name, if every broker accepts it; raises Invalid."""
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{where}: {name!r} is not a name of a topic.",
            hint="Use letters, digits, _, - and dots, and begin with a letter, a digit or _.",
        )
    return name


def seconds(given: float | str, where: str) -> float:
    """The option `timeout`; raises Invalid, naming `where`."""
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if not 0 < found <= LONGEST_TIMEOUT:
        raise Invalid(
            f"{where}: {given!r} is not a number of seconds (accepted: above 0, at most {LONGEST_TIMEOUT}).",
            hint="Write for instance 10.",
        )
    return found


def same_partitions(topic: str, asked: int | None, have: int) -> int:
    """How many a topic that exists has. Raises Conflict when another number is asked for: a key would move, and its
    records with it out of their order."""
    if asked is not None and asked != have:
        raise Conflict(
            f"the topic {topic!r} has {have} partitions, not {asked}: their number is fixed when a topic is made.",
            hint=f"Write partitions={have}, leave it out, or use a topic of another name.",
        )
    return have


def known_partition(partition: int, count: int, topic: str) -> int:
    if not 0 <= partition < count:
        raise Invalid(f"the topic {topic!r} has no partition {partition} (have: 0 to {count - 1}).")
    return partition


def partition_of(key: bytes, count: int) -> int:
    """CRC-32 of the key modulo the number of partitions: the same in every process, version and language."""
    return zlib.crc32(key) % count


def spread(
    messages: Sequence[Message], partition: int | None, count: int, turns: Iterator[int]
) -> dict[int, Sequence[Message]]:
    """Messages by partition, in their order. Those without a key take the partitions in turn."""
    if partition is not None or count == 1:
        return {partition or 0: messages} if messages else {}
    out: dict[int, list[Message]] = {}
    for message in messages:
        chosen = next(turns) % count if message.key is None else partition_of(message.key, count)
        out.setdefault(chosen, []).append(message)
    return dict(out)


def others_sent(topic: str, partition: int) -> Conflict:
    """The error for a partition that somebody else appended to."""
    return Conflict(f"somebody else sent to the topic {topic!r}, partition {partition}.")


def out_of_range(topic: str, partition: int, after: int, oldest: int, newest: int) -> Conflict | None:
    """What is wrong with reading above `after`, if anything: nobody is to pass over records without knowing it."""
    if after >= 0 and after + 1 < oldest:
        what = f"the records {after + 1} to {oldest - 1} are gone before they were read"
        hint = f"Raise the retention; go on from the oldest with {oldest - 1}, knowing that these are lost."
    elif after > newest:
        what = f"the newest record is {newest}, older than {after}, which is said to have been read"
        hint = "The topic was probably made again; read it from the oldest with -1 if so."
    else:
        return None
    return Conflict(f"partition {partition} of the topic {topic!r}: {what}.", hint=hint)


def _count(text: str, where: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_PARTITIONS:
        return int(text)
    raise Invalid(f"{where}: {text!r} is not a number of partitions (accepted: 1 to {MOST_PARTITIONS}).")


def _size(text: str, where: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    size = int(found[1]) * _POWERS[found[2].lower()] if found else 0
    if size < 1:
        raise Invalid(f"{where}: {text!r} is not a size.", hint="Write a number and a unit: 500MB, 20GB, 1TB.")
    return size


def _whole(text: str, where: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise Invalid(f"{where}: {text!r} is not a whole number above 0.")


_READERS = {"partitions": _count, "retention": duration, "max_bytes": _size, "max_records": _whole}
