"""The feature service over gRPC: the same look-ups, the same checks, errors as status codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.fields import shown
from fivefold.features.lookup import ABSENT, EXPIRED, NULL, PRESENT
from fivefold.realtime.grpc.calls import MOST_WAITING, OPTIONS, THREADS, Call, Calls, in_thread, listen
from fivefold.realtime.http.routes import Permission
from fivefold.realtime.lookup.service import FeatureService
from fivefold.realtime.lookup.tables import found_table, rows_of_stream, written
from fivefold.realtime.protocols.bounds import MOST_ROWS
from fivefold.realtime.protos import features_pb2 as pb
from fivefold.realtime.streams.push import Push

SERVICE = "/fivefold.features.v1.Features/"
NO_TIME = -(2**63)
_STATUS = {PRESENT: pb.PRESENT, NULL: pb.NULL, ABSENT: pb.ABSENT, EXPIRED: pb.EXPIRED}
_COLUMNS: dict[Type, Callable[..., Any]] = {
    Type.INT64: lambda name, values: pb.Column(name=name, ints=pb.Ints(values=values)),
    Type.FLOAT64: lambda name, values: pb.Column(name=name, doubles=pb.Doubles(values=values)),
    Type.BOOL: lambda name, values: pb.Column(name=name, bools=pb.Bools(values=values)),
    Type.STRING: lambda name, values: pb.Column(name=name, texts=pb.Texts(values=values)),
    Type.TIMESTAMP: lambda name, values: pb.Column(name=name, times=pb.Ints(values=values)),
}
_NOTHING: dict[Type, Any] = {Type.INT64: 0, Type.FLOAT64: 0.0, Type.BOOL: False, Type.STRING: "", Type.TIMESTAMP: 0}


class FeatureCalls:
    """What answers the calls of features.proto."""

    def __init__(self, features: FeatureService, push: Push) -> None:
        self._features = features
        self._push = push

    @property
    def calls(self) -> list[Call]:
        """What is answered here: features of rows, and events for a stream."""
        return [
            Call(SERVICE + "Get", pb.GetRequest, in_thread(self._get), Permission.READ),
            Call(SERVICE + "Push", pb.PushRequest, in_thread(self._pushed), Permission.OPERATE),
        ]

    def _get(self, request: Any, context: Any) -> Any:
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

    def _pushed(self, request: Any, context: Any) -> Any:
        made = self._push.push(request.stream, _rows(request))
        errors = [pb.RowError(row=i, **p.error) for i, p in enumerate(made) if p.error is not None]
        return pb.PushResponse(accepted=sum(p.accepted for p in made), errors=errors)


@contextmanager
def served(features: FeatureService, push: Push, host: str, port: int) -> Iterator[int]:
    """Serve nothing else on an address of this machine; gives the port. Raises Unavailable when it is taken."""
    server = grpc.server(
        ThreadPoolExecutor(THREADS, "features"),
        handlers=(Calls(FeatureCalls(features, push).calls),),
        options=[*OPTIONS, ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=MOST_WAITING,
    )
    bound = listen(server, host, port)
    server.start()
    try:
        yield bound
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
