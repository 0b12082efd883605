"""What no wire format lets in: more bytes, rows, tensors or depth than stated here."""

from __future__ import annotations

import json
import zlib
from typing import Any, TypeVar

import msgspec

from fivefold.core.errors import Invalid, Unavailable, Unsupported
from fivefold.features.fields import shown

T = TypeVar("T")

MOST_BYTES = 8 << 20
"""Bytes of a body, and of what it is decompressed to."""

MOST_ROWS = 10_000
MOST_TENSORS = 1000
LONGEST_ID = 1000


class TooLarge(Invalid):
    """More was sent than is accepted."""


class Expired(Unavailable):
    """The time that the client gave it is over."""


class Overloaded(Unavailable):
    """The answer would come too late: ask again after `retry_ms` milliseconds, when what is here now is done."""

    def __init__(self, message: str, *, hint: str = "", retry_ms: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_ms = retry_ms


class Limited(Overloaded):
    """This caller has asked more often than it may."""


def decoded(decoder: msgspec.json.Decoder[T], body: bytes | memoryview, hint: str = "") -> T:
    """A JSON body. Raises Invalid for what is no JSON, is nested too deep, or has another shape, naming the place."""
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as e:
        if isinstance(e, msgspec.ValidationError) and decoder.type is not Any:
            raise Invalid(f"the body is not what is accepted here: {e}.", hint=hint) from None
        raise Invalid(f"the body is not JSON: {e}.", hint=hint) from None


def decoded_with_nan(decoder: msgspec.json.Decoder[Any], body: bytes, hint: str = "") -> Any:
    """A JSON body in which the bare words NaN, Infinity and -Infinity may stand for numbers; NaN is then a float.

    Raises Invalid as `decoded` does.
    """
    try:
        return decoded(decoder, body, hint)
    except Invalid:
        if b"NaN" not in body and b"Infinity" not in body:
            raise
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"the body is not JSON: {str(e)[:200]}.", hint=hint) from None


def require_rows(count: int, what: str = "rows") -> None:
    """Raise Invalid for no rows at all, TooLarge for too many."""
    if not count:
        raise Invalid(f"there are 0 {what} (accepted: 1 to {MOST_ROWS}).")
    if count > MOST_ROWS:
        raise TooLarge(f"there are {count} {what} (accepted: 1 to {MOST_ROWS}).", hint="Send fewer rows at once.")


def inflated(body: bytes, encoding: str) -> bytes:
    """A body as it was before it was compressed with gzip or deflate (zlib); what is beyond the bound is never made.

    Raises Unsupported for another encoding, Invalid for damaged data, TooLarge for what is too large inside.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Unsupported(f"the content encoding is {shown(encoding)} (accepted: gzip, deflate).")
    unpack = zlib.decompressobj(zlib.MAX_WBITS if encoding == "deflate" else zlib.MAX_WBITS | 16)
    try:
        made = unpack.decompress(body, MOST_BYTES + 1)
    except zlib.error as e:
        raise Invalid(f"the body is not {encoding}: {e}.") from None
    if len(made) > MOST_BYTES:
        raise TooLarge(f"the body decompresses to more than {MOST_BYTES} bytes.", hint="Send fewer rows at once.")
    if not unpack.eof:
        raise Invalid(f"the body is not {encoding}: it ends too early.")
    if unpack.unused_data:
        raise Invalid(f"the body has {len(unpack.unused_data)} bytes after its end of {encoding}.")
    return made


def deflated(body: bytes, encoding: str) -> bytes:
    """A body compressed with gzip or deflate (zlib), quickly rather than well."""
    pack = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS if encoding == "deflate" else zlib.MAX_WBITS | 16)
    return pack.compress(body) + pack.flush()
