"""Server-sent events: each row of a request as an event, in the order of the rows, as soon as it is answered.

An event `answer` holds what our own JSON holds for a row, with `row`, its number, and the version that answered. The
last event is `end`, with the rows answered and failed, or `error`, after which no row is answered any more.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError
from fivefold.realtime.protocols.batch import Outcome
from fivefold.realtime.protocols.own import answers

EVENT_STREAM = b"text/event-stream"

ROWS_AT_ONCE = 64
"""Rows that are answered together: what is held back for a slow reader is never more."""

_encode = msgspec.json.Encoder().encode


def encode(outcome: Outcome, first: int) -> bytes:
    """Events of the rows of one piece, whose first row has this number in the request."""
    by = outcome.signature
    said = []
    for i, answer in enumerate(answers(outcome), first):
        about: dict[str, Any] = {"row": i, "model": by.model, "version": by.version, "key": by.key}
        said.append(b"event: answer\nid: %d\ndata: %s\n\n" % (i, _encode(about | msgspec.to_builtins(answer))))
    return b"".join(said)


def end(rows: int, failed: int) -> bytes:
    """The last event, when all rows were answered."""
    return b"event: end\ndata: %s\n\n" % _encode({"rows": rows, "failed": failed})


def broken(error: FivefoldError, row: int) -> bytes:
    """The last event, when rows from this one on cannot be answered."""
    told = {"row": row, "error": {"message": error.message, "hint": error.hint}}
    return b"event: error\ndata: %s\n\n" % _encode(told)
