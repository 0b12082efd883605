"""Events into a stream: checked against its schema, written in its format, sent to its partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.sources import Stream
from fivefold.core.values import shown, typed
from fivefold.data.payloads import encoder
from fivefold.features.entity_keys import key_bytes
from fivefold.ports.streams import Broker, Message


class Sender:
    """Sends events to one stream. A bad event is refused by itself; the others are sent."""

    def __init__(self, stream: Stream, broker: Broker) -> None:
        self._stream, self._broker = stream, broker
        self._encode: Callable[[Mapping[str, Any]], bytes] = encoder(stream.schema, stream.format)

    def send(self, events: Sequence[object]) -> list[FivefoldError | None]:
        """For each event None once the broker has it, or why it was not sent.

        Raises Unavailable when the broker does not take them; some may then have been taken.
        """
        messages: list[Message] = []
        out: list[FivefoldError | None] = []
        for event in events:
            try:
                messages.append(self._message(event))
                out.append(None)
            except FivefoldError as e:
                out.append(e)
        if messages:
            self._broker.append(messages)
        return out

    def _message(self, event: object) -> Message:
        stream = self._stream
        if not isinstance(event, Mapping):
            raise Invalid(
                f"an event is an object, not {shown(event)}.", hint=f"Send the fields {', '.join(stream.schema)}."
            )
        value = self._encode(event)
        if event.get(stream.time) is None:
            raise Invalid(f"the field {stream.time!r}, the event's time, is missing.", hint="Send it as ISO 8601.")
        if not stream.key:
            return Message(value)
        parts = [event.get(column) for column in stream.key]
        key = [None if p is None else typed(c, p, stream.schema[c]) for c, p in zip(stream.key, parts, strict=True)]
        return Message(value, key_bytes(key))
