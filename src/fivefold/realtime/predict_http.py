"""`POST /predict/ENDPOINT`: rows in, a prediction or an error for each out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.time import instant
from fivefold.features.fields import shown
from fivefold.realtime.bodies import Receive, Reply, Response, read_body, read_rows, refusal, require_json
from fivefold.realtime.endpoint import Answer, Live


class Answers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request gets: the model version, and one answer a row."""

    model: str
    version: int
    key: str
    rows: list[Answer]


_encode = msgspec.json.Encoder().encode


async def predict(
    endpoints: Mapping[str, Live],
    name: str,
    query: bytes,
    headers: Mapping[bytes, bytes],
    receive: Receive,
    body_seconds: float,
) -> Response:
    """Answer a request for one endpoint."""
    started = time.perf_counter_ns()
    live = endpoints.get(name)
    if live is None:
        raise refusal(NotFound.named("endpoint", name[:80], endpoints))
    require_json(headers)
    at = _asked_moment(query)
    rows, alone = read_rows(await read_body(headers, receive, body_seconds))
    try:
        served, answers = live.answer(rows, started, at)
    except Invalid as e:
        raise refusal(e) from None
    except FivefoldError as e:
        raise Reply(503, e.message, e.hint) from None
    if alone and answers[0].error is not None:
        raise Reply(400, answers[0].error["message"], answers[0].error["hint"])
    version = served.version
    return Response(200, _encode(Answers(version.model, version.number, version.key, answers)))


def _asked_moment(query: bytes) -> int | None:
    """The moment that `?at=` asks for. Raises Reply for anything else in a query, and for what is no moment."""
    asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if not asked:
        return None
    (name, text), *more = asked
    if name != "at" or more:
        raise Reply(400, f"the query is {shown(query.decode('latin-1'))} (accepted: at=MOMENT, once).")
    try:
        return instant(text, "at")
    except (Invalid, OverflowError):
        raise Reply(
            400, f"at={shown(text)} is not a moment.", "Write ISO 8601, for instance 2013-11-01T06:30:00Z."
        ) from None
