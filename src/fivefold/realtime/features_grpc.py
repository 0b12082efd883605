"""The feature service over gRPC: the same look-ups, the same checks, errors as status codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Unavailable, Unsupported
from fivefold.core.types import Type
from fivefold.features.fields import shown
from fivefold.features.lookup import ABSENT, EXPIRED, NULL, PRESENT
from fivefold.realtime.feature_tables import found_table, rows_of_stream, written
from fivefold.realtime.features import FeatureService
from fivefold.realtime.protocols.bounds import MOST_BYTES, MOST_ROWS
from fivefold.realtime.protos import features_pb2 as pb
from fivefold.realtime.protos import features_pb2_grpc as services
from fivefold.realtime.push import Push

T = TypeVar("T")

THREADS = 4
MOST_WAITING = 64
"""Requests at once, under way and waiting for a thread; more are told to try again."""

NO_TIME = -(2**63)
_STATUS = {PRESENT: pb.PRESENT, NULL: pb.NULL, ABSENT: pb.ABSENT, EXPIRED: pb.EXPIRED}
_CODES = {
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Unsupported: grpc.StatusCode.UNIMPLEMENTED,
}
_COLUMNS: dict[Type, Callable[..., Any]] = {
    Type.INT64: lambda name, values: pb.Column(name=name, ints=pb.Ints(values=values)),
    Type.FLOAT64: lambda name, values: pb.Column(name=name, doubles=pb.Doubles(values=values)),
    Type.BOOL: lambda name, values: pb.Column(name=name, bools=pb.Bools(values=values)),
    Type.STRING: lambda name, values: pb.Column(name=name, texts=pb.Texts(values=values)),
    Type.TIMESTAMP: lambda name, values: pb.Column(name=name, times=pb.Ints(values=values)),
}
_NOTHING: dict[Type, Any] = {Type.INT64: 0, Type.FLOAT64: 0.0, Type.BOOL: False, Type.STRING: "", Type.TIMESTAMP: 0}


class FeatureServicer(services.FeaturesServicer):  # type: ignore[misc, unused-ignore]
    """What answers the calls of features.proto."""

    def __init__(self, features: FeatureService, push: Push) -> None:
        self._features = features
        self._push = push

    def Get(self, request: Any, context: Any) -> Any:
        """Features of rows."""
        return _answered(lambda: self._get(request), context)

    def Push(self, request: Any, context: Any) -> Any:
        """Events for a stream."""
        return _answered(lambda: self._pushed(request), context)

    def _get(self, request: Any) -> Any:
        lookup = self._features.lookup(list(request.features), request.model or None)
        rows = _rows(request)
        found = self._features.get(lookup, rows, request.at if request.HasField("at") else None)
        if request.arrow:
            return pb.GetResponse(as_of=found.as_of, arrow=written(found_table(found)))
        columns = [
            pb.FeatureColumn(
                column=column(name, kind, values),
                statuses=[_STATUS[s] for s in statuses],
                event_times=[NO_TIME if t is None else t for t in times],
            )
            for (name, kind), values, statuses, times in zip(
                found.types.items(), found.values, found.statuses, found.event_times, strict=True
            )
        ]
        return pb.GetResponse(as_of=found.as_of, features=columns)

    def _pushed(self, request: Any) -> Any:
        made = self._push.push(request.stream, _rows(request))
        errors = [pb.RowError(row=i, **p.error) for i, p in enumerate(made) if p.error is not None]
        return pb.PushResponse(accepted=sum(p.accepted for p in made), errors=errors)


@contextmanager
def served(features: FeatureService, push: Push, host: str, port: int) -> Iterator[int]:
    """Serve on an address of this machine; gives the port. Raises Unavailable when it is taken."""
    server = grpc.server(
        ThreadPoolExecutor(THREADS, "features"),
        options=[
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.max_metadata_size", 64 << 10),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=MOST_WAITING,
    )
    add: Any = services.add_FeaturesServicer_to_server
    add(FeatureServicer(features, push), server)
    where = "127.0.0.1" if host == "localhost" else f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{where}:{port}")
    except RuntimeError as e:
        raise Unavailable(f"cannot serve gRPC on {host}:{port}: {e}.", hint="Try another --grpc-port.") from None
    server.start()
    try:
        yield int(bound)
    finally:
        server.stop(5).wait()


def column(name: str, kind: Type, values: Sequence[Any]) -> Any:
    """A typed column; what is null is named by position."""
    nulls = [i for i, v in enumerate(values) if v is None]
    made = _COLUMNS[kind](name, [_NOTHING[kind] if v is None else v for v in values] if nulls else values)
    made.nulls.extend(nulls)
    return made


def _rows(request: Any) -> list[dict[str, Any]]:
    if request.rows_arrow:
        if request.rows:
            raise Invalid("rows and rows_arrow were both sent.", hint="Send one of them.")
        rows = rows_of_stream(request.rows_arrow)
    else:
        rows = _of_columns(request.rows)
    if not 0 < len(rows) <= MOST_ROWS:
        raise Invalid(f"{len(rows)} rows were sent (accepted: 1 to {MOST_ROWS}).")
    return rows


def _of_columns(columns: Sequence[Any]) -> list[dict[str, Any]]:
    made: dict[str, list[Any]] = {}
    for each in columns:
        kind = each.WhichOneof("values")
        if kind is None:
            raise Invalid(f"the column {shown(each.name)} has no values.")
        if each.name in made:
            raise Invalid(f"the column {shown(each.name)} is there twice.")
        values = list(getattr(each, kind).values)
        for place in each.nulls:
            if place >= len(values):
                raise Invalid(f"the column {shown(each.name)}: null {place} of {len(values)} values.")
            values[place] = None
        made[each.name] = values
    lengths = {name: len(values) for name, values in made.items()}
    if len(set(lengths.values())) > 1:
        raise Invalid(f"the columns have different lengths: {shown(lengths)}.")
    return [dict(zip(made, row, strict=True)) for row in zip(*made.values(), strict=True)]


def _answered(work: Callable[[], T], context: Any) -> T:
    try:
        return work()
    except FivefoldError as e:
        code = next((c for kind, c in _CODES.items() if isinstance(e, kind)), grpc.StatusCode.UNKNOWN)
        said = str(e)
    except Exception:  # the edge of the process: one request may fail, the others go on
        traceback.print_exc(file=sys.stderr)
        code, said = grpc.StatusCode.INTERNAL, "something is wrong here, not with the request."
    context.abort(code, said)
    raise AssertionError("abort raises")
