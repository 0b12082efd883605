"""Labels of predictions: kept by the identifier of the prediction, each once, and told to the endpoint that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound
from fivefold.core.time import DAY
from fivefold.features.fields import shown
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import Prediction, find_prediction

KEPT = 90 * DAY
"""How long (microseconds) a label is kept after its prediction."""

MOST = 10_000
"""Labels of one request."""

_SWEPT = 1000
_ATTEMPTS = 50


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What was true, when it was told (microseconds UTC), and which version had predicted."""

    value: Any
    at: int
    version: int


write_label = msgspec.msgpack.Encoder().encode
read_label = msgspec.msgpack.Decoder(Label).decode


def labels_space(endpoint: str) -> str:
    """Where the labels of an endpoint's predictions lie, by identifier, which sorts by time."""
    return f"labels#{endpoint}"


class Labels:
    """Takes the labels of a workspace's predictions."""

    def __init__(self, workspace: Workspace, store: OnlineStore) -> None:
        self._workspace, self._store = workspace, store

    def take(self, endpoints: Mapping[str, Live], given: Sequence[object]) -> list[FivefoldError | None]:
        """Keep labels, each an object of `id` and `label`; for each None, or why it was not taken.

        One that is there already is fine; another label for the same prediction is a Conflict. Raises Unavailable when
        the store does not answer: some may then have been kept, and sending all of them again is safe.
        """
        out: list[FivefoldError | None] = [None] * len(given)
        found: dict[str, list[tuple[int, Prediction, Any]]] = {}
        for i, one in enumerate(given):
            try:
                prediction, label = self._read(one)
                if prediction.endpoint not in endpoints:
                    raise NotFound.named("endpoint", prediction.endpoint, endpoints)
                endpoints[prediction.endpoint].require_label(label)
                found.setdefault(prediction.endpoint, []).append((i, prediction, label))
            except FivefoldError as e:
                out[i] = e
        for endpoint, some in found.items():
            for i, prediction, label in self._keep(endpoint, some, out):
                try:
                    endpoints[endpoint].labelled(prediction, label)
                except FivefoldError as e:
                    out[i] = e
        return out

    def _read(self, one: object) -> tuple[Prediction, Any]:
        if not isinstance(one, dict) or set(one) != {"id", "label"} or not isinstance(one["id"], str):
            raise Invalid(f"a label is an object of id and label, not {shown(one)}.")
        return find_prediction(self._workspace.state, one["id"]), one["label"]

    def _keep(
        self, endpoint: str, some: Sequence[tuple[int, Prediction, Any]], out: list[FivefoldError | None]
    ) -> list[tuple[int, Prediction, Any]]:
        """Those labels that were not there yet, kept now."""
        space, now = labels_space(endpoint), self._workspace.clock()
        for _ in range(_ATTEMPTS):
            raw, *held = self._store.get([(space, MARK), *((space, p.id.encode()) for _, p, _ in some)])
            fresh: dict[bytes, tuple[int, Prediction, Any]] = {}
            for one, there in zip(some, held, strict=True):
                i, prediction, label = one
                key = prediction.id.encode()
                known = read_label(there).value if there is not None else fresh[key][2] if key in fresh else None
                if there is None and key not in fresh:
                    fresh[key] = one
                elif known != label:
                    out[i] = Conflict(f"the prediction {prediction.id} has the label {shown(known)} already.")
            if not fresh:
                return []
            items: list[tuple[bytes, bytes | None]] = [
                (key, write_label(Label(label, now, p.version))) for key, (_, p, label) in fresh.items()
            ]
            items += [(key, None) for key in self._old(space, now - KEPT)]
            changes = 0 if raw is None else int.from_bytes(raw, "big")
            try:
                self._store.commit([Write(space, items, (changes + 1).to_bytes(8, "big"), raw)])
            except Conflict:
                continue  # another process was faster
            return list(fresh.values())
        raise Conflict(f"the labels of {endpoint} change all the time.", hint="Send them again.")

    def _old(self, space: str, before: int) -> list[bytes]:
        out: list[bytes] = []
        end = f"p{max(before, 0):014x}".encode()
        for key, _ in self._store.scan(space):
            if key >= end or len(out) == _SWEPT:
                break
            out.append(key)
        return out
