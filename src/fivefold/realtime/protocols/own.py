"""Our own JSON: a row object, or `{"rows": [...]}`; a prediction with its features, or an error, for each."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.time import instant, moment
from fivefold.features.fields import shown
from fivefold.features.lookup import Vector
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.bounds import MOST_ROWS, decoded
from fivefold.realtime.protocols.rows import batch_of

_SEND = 'Send {"field": value, …} or {"rows": [{…}, …]}.'
_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


class Feature(msgspec.Struct, frozen=True):
    """A feature as it was used: `event_time` is ISO 8601, null for what came with the request or was derived."""

    value: Any
    status: str
    event_time: str | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one row: a prediction, or an error that concerns this row alone."""

    id: str = ""
    prediction: Any = None
    features: dict[str, Feature] | None = None
    as_of: str | None = None
    warnings: list[str] | None = None
    error: dict[str, str] | None = None


class Answers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request gets: the model version, and one answer a row."""

    model: str
    version: int
    key: str
    rows: list[Answer]


_encode = msgspec.json.Encoder().encode


def decode(query: bytes, body: bytes, signature: Signature, started: int) -> tuple[Batch, bool]:
    """The batch of a request, and whether it is a single row. Of a key that is there twice the last value counts.

    Raises Invalid for what is no JSON, is no object, has too many rows, or asks for no moment.
    """
    rows, alone = _rows(body)
    return batch_of(rows, signature.fields, at=_asked_moment(query), started=started), alone


def encode(outcome: Outcome) -> bytes:
    """The answer to a request."""
    by = outcome.signature
    return _encode(Answers(by.model, by.version, by.key, answers(outcome)))


def answers(outcome: Outcome) -> list[Answer]:
    """One answer a row."""
    count, errors = len(outcome.ids), outcome.errors
    return [_error(errors[i]) if i in errors else _answer(outcome, i) for i in range(count)]


def _answer(outcome: Outcome, i: int) -> Answer:
    vector = outcome.features[i]
    assert vector is not None
    found = outcome.signature.said(outcome.predictions[i])
    return Answer(outcome.ids[i], found, _features(outcome, vector), _iso(outcome.as_of), outcome.warnings[i] or None)


def _features(outcome: Outcome, vector: Vector) -> dict[str, Feature]:
    values, times, statuses, _ = vector
    return {
        n: Feature(v, s, None if t is None else _iso(t))
        for n, v, t, s in zip(outcome.names, values, times, statuses, strict=True)
    }


def _error(error: FivefoldError) -> Answer:
    return Answer(error={"message": error.message, "hint": error.hint})


_iso = lru_cache(4096)(moment)


def _rows(body: bytes) -> tuple[list[Any], bool]:
    given = decoded(_json, body, _SEND)
    if isinstance(given, dict) and len(given) == 1 and isinstance(given.get("rows"), list):
        if not 0 < len(given["rows"]) <= MOST_ROWS:
            raise Invalid(f"rows holds {len(given['rows'])} rows (accepted: 1 to {MOST_ROWS}).")
        return given["rows"], False
    if not isinstance(given, dict):
        raise Invalid(f"the body is {shown(given)}, not an object.", hint=_SEND)
    return [given], True


def _asked_moment(query: bytes) -> int | None:
    """The moment that `?at=` asks for. Raises Invalid for anything else in a query, and for what is no moment."""
    if not query:
        return None
    asked = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if not asked:
        return None
    (name, text), *more = asked
    if name != "at" or more:
        raise Invalid(f"the query is {shown(query.decode('latin-1'))} (accepted: at=MOMENT, once).")
    try:
        return instant(text, "at")
    except (Invalid, OverflowError):
        raise Invalid(
            f"at={shown(text)} is not a moment.", hint="Write ISO 8601, for instance 2013-11-01T06:30:00Z."
        ) from None
