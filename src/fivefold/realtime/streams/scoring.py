"""Events of one stream answered with events of another: each exactly once, or set aside as a dead letter.

Where the input stands is kept in the online store. What was sent goes behind the newest record of the output that is
known, all or none, and says of which event it is; so one that was killed between sending and noting finds what it had
sent, and of two that believe a partition is theirs one is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, NotFound, Unavailable
from fivefold.core.uses import ANSWERED, Endpoint
from fivefold.data.payloads import decoder, encoder
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.streams import Broker, Message, Record
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.protocols.batch import Batch, Outcome
from fivefold.realtime.protocols.rows import batch_of
from fivefold.realtime.streams.intake import Letter, Reason
from fivefold.realtime.streams.worker import read_letter, write_letter
from fivefold.workspace.events import LETTERS, offset_key
from fivefold.workspace.workspace import wall_clock

BATCH = 500
"""Events that are answered, and sent, at once."""

FROM = "fivefold-from"
"""The header of an answer: the stream, partition and offset of its event."""


class Scored(msgspec.Struct, frozen=True, array_like=True):
    """How far a partition of the input is; `behind` is the newest offset of the output then.

    `read` = `answered` + `dead`; `lost` are those that the broker removed before they were read.
    """

    applied: int = -1
    behind: int = -1
    read: int = 0
    answered: int = 0
    dead: int = 0
    lost: int = 0


_logger = logging.getLogger("fivefold.streaming")

write_scored = msgspec.msgpack.Encoder().encode
read_scored = msgspec.msgpack.Decoder(Scored).decode


def scored_space(endpoint: str, stream: str, partition: int) -> str:
    """Where it is kept how far an endpoint is, with its dead letters."""
    return f"{endpoint}#scored/{stream}.{partition}"


def scored_of(store: OnlineStore, endpoint: Endpoint, partition: int) -> Scored:
    """How far an endpoint is with a partition of its input."""
    assert endpoint.on is not None
    (raw,) = store.get([(scored_space(endpoint.name, endpoint.on.name, partition), MARK)])
    return Scored() if raw is None else read_scored(raw)


class Scorer:
    """One partition of the input. It may be killed at any point, and several may be at it."""

    def __init__(
        self,
        endpoint: Endpoint,
        partition: int,
        source: Broker,
        target: Broker,
        store: OnlineStore,
        live: Live,
        batch: int = BATCH,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        assert endpoint.on is not None
        assert endpoint.into is not None
        self._on, self._into = endpoint.on, endpoint.into
        self._endpoint, self._partition = endpoint, partition
        self._source, self._target, self._store, self._live = source, target, store, live
        self._batch, self._clock = batch, clock
        self._decode = decoder(self._on.schema, self._on.format)
        self._encode = encoder(self._into.schema, self._into.format)
        self._space = scored_space(endpoint.name, self._on.name, partition)
        if partition >= target.partitions():
            raise Invalid(
                f"{endpoint.ref}: {self._into.ref} has {target.partitions()} partitions, and {self._on.ref} more.",
                hint="Give the output as many partitions as the input.",
            )
        self._raw: bytes | None = None
        self._at = Scored()
        self._known: set[int] = set()
        """Offsets of events that were answered, and not noted yet."""
        self._resent: set[int] = set()
        """Those of them that are dead letters, which were answered later."""
        self.refresh()

    def refresh(self) -> None:
        """Read where the partition stands, and what was sent of it beyond that."""
        (self._raw,) = self._store.get([(self._space, MARK)])
        self._at = Scored() if self._raw is None else read_scored(self._raw)
        self._known = set()
        oldest, newest = self._target.bounds(self._partition)
        after = max(self._at.behind, oldest - 1)
        while after < newest and (found := self._target.read(self._partition, after, 1000)):
            self._known.update(self._origin(record) for record in found)
            after = found[-1].offset
        self._resent = {offset for offset in self._known if 0 <= offset <= self._at.applied}
        self._at = msgspec.structs.replace(self._at, behind=newest)
        self._pass_over(self._source.bounds(self._partition)[0])

    def _pass_over(self, oldest: int) -> None:
        """Go on with the oldest event that the broker has, and count those that it removed before they were read."""
        lost = oldest - self._at.applied - 1
        if self._at.applied < 0 or lost <= 0:
            return
        _logger.warning(
            "%s, partition %d of %s: the broker removed %d events before they were answered. "
            "Raise its retention, or let more workers run.",
            self._endpoint.ref,
            self._partition,
            self._on.ref,
            lost,
        )
        self._at = msgspec.structs.replace(self._at, applied=oldest - 1, lost=self._at.lost + lost)

    def outdated(self) -> bool:
        """Never: it is as the project was when it began."""
        return False

    def waiting(self) -> int:
        """About how many records are waiting."""
        return max(0, self._source.bounds(self._partition)[1] - self._at.applied)

    def step(self, wait: float = 0.0) -> int:
        """Answer the next records; returns how many there were.

        Raises Conflict when another one is at this partition, Unavailable while nothing can be answered: then nothing
        is set aside, and the same records come again.
        """
        records = self._source.read(self._partition, self._at.applied, self._batch, wait)
        if not records:
            return 0
        messages, answered, letters = self._answers(records)
        behind = self._at.behind
        if messages:
            behind = self._target.append_behind(messages, self._partition, behind)
        again = self._noted(self._resent)
        now = Scored(
            records[-1].offset,
            behind,
            self._at.read + len(records),
            self._at.answered + len(answered) + len(again),
            self._at.dead + len(letters) - len(again),
            self._at.lost,
        )
        items = [(offset_key(LETTERS, offset), write_letter(letter)) for offset, letter in letters.items()]
        self._commit(now, items + again)
        self._source.done(self._partition, now.applied)
        return len(records)

    def again(self, offsets: Sequence[int]) -> int:
        """Answer dead letters, after `refresh`; those that still cannot be answered stay. Gives how many were.

        An answer that was sent before, and not noted, is noted now. Raises what `step` raises: then `refresh`, and ask
        again.
        """
        while any(offset > self._at.applied for offset in self._known):
            # what was sent and not noted stands behind the answers of letters, and would be forgotten
            if not self.step():
                raise Unavailable(f"events of {self._on.ref} that were answered cannot be read.", hint="Run it again.")
        letters = [letter for letter in self._letters(offsets) if letter.replayed is None]
        records = [Record(at.offset, at.value, at.key, at.headers, at.arrived) for at in letters]
        messages, answered, _ = self._answers(records) if records else ([], [], {})
        behind = self._at.behind
        if messages:
            behind = self._target.append_behind(messages, self._partition, behind)
        items = self._noted({*answered, *self._resent})
        if items:
            at, count = self._at, len(items)
            now = Scored(at.applied, behind, at.read, at.answered + count, at.dead - count, at.lost)
            self._commit(now, items)
        return len(answered)

    def _answers(self, records: Sequence[Record]) -> tuple[list[Message], list[int], dict[int, Letter]]:
        """What is to be sent, the offsets of records that have an answer then, and the letters of the others."""
        letters: dict[int, Letter] = {}
        events: list[tuple[Record, dict[str, Any]]] = []
        for record in records:
            try:
                values = self._decode(record.value)
            except Invalid as e:
                letters[record.offset] = _letter(record, Reason.UNDECODABLE, e.message)
            else:
                events.append((record, dict(zip(self._on.schema, values, strict=True))))
        messages: list[Message] = []
        answered: list[int] = []
        if events:
            outcome = self._live.answer(self._asked([event for _, event in events]))
            for i, (record, event) in enumerate(events):
                try:
                    if record.offset not in self._known:
                        messages.append(self._message(record, event, outcome, i))
                    answered.append(record.offset)
                except FivefoldError as e:
                    letters[record.offset] = _letter(record, Reason.INVALID, str(e))
        return messages, answered, letters

    def _commit(self, now: Scored, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        write = Write(self._space, items, write_scored(now), self._raw)
        self._store.commit([write])
        self._at, self._raw = now, write.mark
        self._known = {offset for offset in self._known if offset > now.applied}
        self._resent = set()

    def _letters(self, offsets: Collection[int]) -> list[Letter]:
        found = self._store.get([(self._space, offset_key(LETTERS, offset)) for offset in sorted(offsets)])
        return [read_letter(raw) for raw in found if raw is not None]

    def _noted(self, offsets: Collection[int]) -> list[tuple[bytes, bytes | None]]:
        """Letters, with the moment at which it was noted that they were answered."""
        letters = [letter for letter in self._letters(offsets) if letter.replayed is None] if offsets else []
        now = self._clock()
        return [
            (offset_key(LETTERS, at.offset), write_letter(msgspec.structs.replace(at, replayed=now))) for at in letters
        ]

    def _asked(self, events: list[dict[str, Any]]) -> Batch:
        fields = self._live.signature.fields
        for name in fields:
            if name not in self._on.schema:
                raise NotFound.named(f"column of {self._on.ref} for {self._endpoint.ref}", name, self._on.schema)
        return batch_of([{n: event[n] for n in fields} for event in events], fields)

    def _message(self, record: Record, event: dict[str, Any], outcome: Outcome, i: int) -> Message:
        if i in outcome.errors:
            raise outcome.errors[i]
        signature, found = outcome.signature, outcome.predictions[i]
        classes = signature.classes
        text = classes is None and isinstance(found, str)
        answer = {
            "prediction": None if text else float(found) if classes is None else max(found),
            "label": found if text else None if classes is None else classes[found.index(max(found))],
            "probabilities": None if classes is None else msgspec.json.encode(signature.said(found)).decode(),
            "prediction_id": outcome.ids[i],
            "predicted_at": outcome.as_of,
            "model": signature.model,
            "version": signature.version,
        }
        value = self._encode({c: answer[c] if c in ANSWERED else event[c] for c in self._into.schema})
        origin = f"{self._on.name}/{record.offset}".encode()
        return Message(value, record.key, ((FROM, origin),))

    def _origin(self, record: Record) -> int:
        """The offset of the event that a record of the output answers; -1 of one that answers none of this input."""
        for name, value in record.headers:
            if name == FROM:
                stream, _, offset = value.decode("utf-8", "replace").rpartition("/")
                return int(offset) if stream == self._on.name and offset.isdecimal() else -1
        return -1


def _letter(record: Record, reason: Reason, message: str) -> Letter:
    return Letter(record.offset, reason, message, record.value, record.key, record.headers, record.at)
