"""The feature service over HTTP: `POST /features/get` and `/streams/NAME`, and the shapes of Feast's feature server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, Unsupported
from fivefold.core.time import moment
from fivefold.core.types import Type
from fivefold.features.fields import accepted, shown
from fivefold.features.lookup import ABSENT, EXPIRED, NULL, PRESENT
from fivefold.realtime.http.replies import Reply, refusal, require_json
from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.lookup.service import FeatureService, Found
from fivefold.realtime.lookup.tables import ARROW_STREAM, found_table, written
from fivefold.realtime.protocols.bounds import MOST_ROWS
from fivefold.realtime.streams.push import Push

T = TypeVar("T")

FEAST_STATUS = {PRESENT: "PRESENT", NULL: "NULL_VALUE", ABSENT: "NOT_FOUND", EXPIRED: "OUTSIDE_MAX_AGE"}
_NO_TIME = "1970-01-01T00:00:00Z"
_FEAST_TO = ("online", "online_and_offline")


class Get(msgspec.Struct, forbid_unknown_fields=True):
    """What `/features/get` takes. `request` holds request values: for all entities, or in a list, one each."""

    entities: list[dict[str, Any]]
    features: list[str] = []
    model: str | None = None
    request: dict[str, Any] | list[dict[str, Any]] | None = None
    at: Any = None


class FeastGet(msgspec.Struct):
    """What Feast's `/get-online-features` takes."""

    entities: dict[str, list[Any]]
    features: list[str] | None = None
    feature_service: str | None = None
    full_feature_names: bool = False


class FeastPush(msgspec.Struct):
    """What Feast's `/push` takes."""

    push_source_name: str
    df: dict[str, list[Any]]
    to: str = "online"


_encode = msgspec.json.Encoder().encode
_get = msgspec.json.Decoder(Get)
_feast_get = msgspec.json.Decoder(FeastGet)
_feast_push = msgspec.json.Decoder(FeastPush)
_events = msgspec.json.Decoder(list[Any])


class FeatureRoutes:
    """The paths of the feature service."""

    def __init__(self, features: FeatureService, push: Push) -> None:
        self._features = features
        self._push = push

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [
            Route("POST", "/features/get", self._on_get, Permission.READ),
            Route("POST", "/get-online-features", self._on_feast_get, Permission.READ),
            Route("POST", "/push", self._on_feast_push, Permission.OPERATE),
            Route("POST", "/streams/{stream}", self._on_events, Permission.OPERATE),
        ]

    async def _on_get(self, request: Request) -> Response:
        require_json(request.headers)
        asked = _decoded(_get, request.body)
        try:
            at = accepted({"at": asked.at}, {"at": Type.TIMESTAMP})["at"]
            found = self._features.get(
                self._features.lookup(asked.features, asked.model), _joined(asked.entities, asked.request), at
            )
        except FivefoldError as e:
            raise refusal(e) from None
        if ARROW_STREAM in request.headers.get(b"accept", b""):
            return Response(200, written(found_table(found)), ARROW_STREAM)
        return Response(200, _encode(_columnar(found)))

    async def _on_feast_get(self, request: Request) -> Response:
        require_json(request.headers, b"")  # Feast's own client says nothing of the kind
        asked = _decoded(_feast_get, request.body)
        try:
            lookup = self._features.lookup([_own_name(n) for n in asked.features or []], asked.feature_service)
            names = {n: _feast_name(n, asked.full_feature_names) for n in lookup.names}
            if len(set(names.values())) < len(names):
                raise Invalid(
                    "two features have the same short name.", hint='Send "full_feature_names": true to tell them apart.'
                )
            rows = _transposed(asked.entities, "entities")
            found = self._features.get(lookup, rows)
        except FivefoldError as e:
            raise refusal(e) from None
        keys = [k for k in asked.entities if k not in names]
        present, no_time = ["PRESENT"] * len(rows), [_NO_TIME] * len(rows)
        results: list[dict[str, Sequence[Any]]] = [
            {"values": asked.entities[k], "statuses": present, "event_timestamps": no_time} for k in keys
        ]
        results += [
            {
                "values": _shown(values, kind),
                "statuses": [FEAST_STATUS[s] for s in statuses],
                "event_timestamps": [_NO_TIME if t is None else moment(t) for t in times],
            }
            for kind, values, statuses, times in zip(
                found.types.values(), found.values, found.statuses, found.event_times, strict=True
            )
        ]
        return Response(200, _encode({"metadata": {"feature_names": [*keys, *names.values()]}, "results": results}))

    async def _on_feast_push(self, request: Request) -> Response:
        require_json(request.headers, b"")
        asked = _decoded(_feast_push, request.body)
        try:
            if asked.to not in _FEAST_TO:
                raise Unsupported(
                    f"to={shown(asked.to)} (accepted: {', '.join(_FEAST_TO)}).",
                    hint="An event goes to its stream, and from there to the online store and to history.",
                )
            rows = _transposed(asked.df, "df")
            await asyncio.to_thread(self._push.push, asked.push_source_name, rows, all_or_none=True)
        except FivefoldError as e:
            raise refusal(e) from None
        return Response(200, b"null")

    async def _on_events(self, request: Request) -> Response:
        require_json(request.headers)
        rows = _decoded(_events, request.body)
        _check_count(len(rows), "events were sent")
        try:
            # a broker may take its time; other requests are answered meanwhile
            pushed = await asyncio.to_thread(self._push.push, request.params["stream"], rows)
        except FivefoldError as e:
            raise refusal(e) from None
        return Response(200, _encode({"accepted": sum(p.accepted for p in pushed), "rows": pushed}))


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as e:
        raise Reply(400, f"the body is not what is accepted here: {e}.") from None
    except (ValueError, RecursionError) as e:
        raise Reply(400, f"the body is not JSON: {e}.") from None


def _joined(
    entities: Sequence[dict[str, Any]], request: dict[str, Any] | list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """Entity keys and request values in one mapping each."""
    if request is None:
        return list(entities)
    each = [request] * len(entities) if isinstance(request, dict) else request
    if len(each) != len(entities):
        _uneven("request", len(each), "entities", len(entities))
    return [{**keys, **values} for keys, values in zip(entities, each, strict=True)]


def _transposed(columns: Mapping[str, Sequence[Any]], what: str) -> list[dict[str, Any]]:
    """Rows of columns, which must be equally long."""
    lengths = {name: len(values) for name, values in columns.items()}
    first = next(iter(lengths), "")
    for name, length in lengths.items():
        if length != lengths[first]:
            _uneven(f"{what}.{name[:80]}", length, f"{what}.{first[:80]}", lengths[first])
    _check_count(lengths.get(first, 0), f"rows are in {what}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _uneven(one: str, length: int, other: str, its: int) -> NoReturn:
    raise Invalid(f"{one} has {length} items and {other} has {its}.", hint="Send as many of each.")


def _check_count(count: int, what: str) -> None:
    if not 0 < count <= MOST_ROWS:
        raise Reply(400, f"{count} {what} (accepted: 1 to {MOST_ROWS}).")


def _columnar(found: Found) -> dict[str, Any]:
    return {
        "as_of": moment(found.as_of),
        "features": {
            name: {
                "type": kind.value,
                "values": _shown(values, kind),
                "statuses": statuses,
                "event_times": [None if t is None else moment(t) for t in times],
            }
            for (name, kind), values, statuses, times in zip(
                found.types.items(), found.values, found.statuses, found.event_times, strict=True
            )
        },
        "made_of": {
            view: {"snapshot": seen.snapshot, "stream": {str(p): offset for p, offset in seen.applied.items()}}
            for view, seen in found.seen.items()
        },
    }


def _shown(values: Sequence[Any], kind: Type) -> Sequence[Any]:
    return [None if v is None else moment(v) for v in values] if kind is Type.TIMESTAMP else values


def _own_name(name: str) -> str:
    return name.replace(":", ".", 1)


def _feast_name(name: str, full: bool) -> str:
    view, dot, short = name.partition(".")
    return name if not dot else f"{view}__{short}" if full else short
