"""What the prediction log is given of an answer: its identifier, and what makes its line later."""

from __future__ import annotations

import os
import time

from fivefold.realtime.endpoints.answers import Answered, Answers
from fivefold.realtime.prediction_log.log import Entry
from fivefold.workspace.predictions import Prediction


def prediction_id(now: int) -> str:
    """A new identifier that sorts by time: microseconds in hex, then 64 random bits."""
    return f"p{now:014x}{os.urandom(8).hex()}"


def entry(id: str, now: int, endpoint: str, using: Answers, found: Answered, at: int, started: int) -> Entry:
    """What makes the line of an answer that was given `now` (microseconds UTC) to a request read at `started`."""
    version, names, key, used = using.served.version, using.names, using.signature.key, using.used
    row, (values, times, statuses, seen), prediction, _ = found
    said = using.signature.said(prediction)
    took = (time.perf_counter_ns() - started) // 1000
    return lambda: Prediction(
        id,
        now,
        endpoint,
        version.model,
        version.number,
        key,
        row,
        dict(zip(names, zip(values, times, statuses, strict=True), strict=True)),
        at,
        seen,
        said,
        took,
        used,
    )
