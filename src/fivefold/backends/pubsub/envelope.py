"""A message as Pub/Sub carries it: texts where ours are bytes, and no order among attributes.

What others can read is left plain: a key that is a text is the ordering key, headers that are texts are attributes.
Everything else goes into attributes of our own, named `fivefold.…`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from fivefold.backends.log.streams import Arrival
from fivefold.ports.streams import Message

_OURS = "fivefold."
_KEY, _HEADERS, _PARTITION, _EMPTY = (_OURS + word for word in ("key", "headers", "partition", "empty"))
# Pub/Sub's own limits
_LONGEST_ORDERING_KEY = 1024
_LONGEST_NAME = 256
_LONGEST_VALUE = 1024
_MOST_ATTRIBUTES = 90

_encode = msgspec.msgpack.Encoder().encode
_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def ordering_key(key: bytes | None) -> str:
    """What Pub/Sub orders messages of this key by; empty for none."""
    if key is None:
        return ""
    text = _text(key, _LONGEST_ORDERING_KEY)
    return text or f"sha256:{hashlib.sha256(key).hexdigest()}"


def sent(message: Message, partition: int | None) -> dict[str, Any]:
    """The fields of a PubsubMessage."""
    key, headers = message.key, message.headers
    attributes = {} if partition is None else {_PARTITION: str(partition)}
    ordered_by = ordering_key(key)
    if key is not None and ordered_by.encode() != key:
        attributes[_KEY] = base64.b64encode(key).decode()
    plain = _plain(headers)
    if plain is None:
        attributes[_HEADERS] = base64.b64encode(_encode(headers)).decode()
    else:
        attributes.update(plain)
    if not message.value and not attributes:
        # it accepts no message without anything in it
        attributes[_EMPTY] = "1"
    return {"data": message.value, "attributes": attributes, "ordering_key": ordered_by}


def arrived(id: str, data: bytes, attributes: Mapping[str, str], ordered_by: str, partitions: int) -> Arrival:
    """What was sent, by us or by others."""
    # bytes that others wrote under our names are not taken for ours
    key = _bytes(attributes[_KEY]) if _KEY in attributes else None
    if key is None and ordered_by:
        key = ordered_by.encode()
    packed = _bytes(attributes[_HEADERS]) if _HEADERS in attributes else None
    headers = None
    if packed is not None:
        try:
            headers = _headers(packed)
        except (msgspec.DecodeError, UnicodeDecodeError):
            headers = None
    if headers is None:
        headers = tuple((name, text.encode()) for name, text in sorted(attributes.items()) if not _ours(name))
    named = attributes.get(_PARTITION, "")
    partition = int(named) if named.isascii() and named.isdigit() and int(named) < partitions else None
    return Arrival(id.encode(), Message(data, key, headers), partition)


def _plain(headers: tuple[tuple[str, bytes], ...]) -> dict[str, str] | None:
    """Headers as attributes, if they come back from them as they were."""
    out = {}
    for name, value in headers:
        text = _text(value, _LONGEST_VALUE)
        if text is None or not name or len(name.encode()) > _LONGEST_NAME or _ours(name):
            return None
        out[name] = text
    names = [name for name, _ in headers]
    return out if names == sorted(out) and len(names) <= _MOST_ATTRIBUTES else None


def _ours(name: str) -> bool:
    return name.startswith((_OURS, "goog"))


def _text(value: bytes, longest: int) -> str | None:
    if len(value) > longest:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
