"""One partition of a Kafka topic, read by position. Each has a consumer: what is fetched ahead is kept apart, so that
readers of several partitions neither wait for each other nor fetch anything twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import partial
from itertools import repeat
from logging import Logger, LoggerAdapter
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from fivefold.ports.streams import Record

# how much is fetched ahead of the reader at most, and how soon more is when it took some
_AHEAD = {"queued.max.messages.kbytes": 16 << 10, "fetch.queue.backoff.ms": 20}
# C code does not see Ctrl-C: it comes back this often
LONGEST_CALL = 0.5
# what the library gives at once, at most
MOST_TAKEN = 1_000_000
# the constructor of a named tuple is Python; this one is C
_record = partial(tuple.__new__, Record)


class OutOfRange(Exception):
    """The broker does not have the offset that was asked for."""


class Reader:
    """Whoever calls holds `lock`. Raises KafkaException, and OutOfRange."""

    def __init__(
        self, topic: str, partition: int, settings: dict[str, Any], logger: LoggerAdapter[Logger], timeout: float
    ) -> None:
        self.lock = threading.Lock()
        self._place = (topic, partition)
        self._timeout = timeout
        # the offset that is read next if nobody moves, and where the broker said that there is no more
        self._next: int | None = None
        self._end: int | None = None
        # librdkafka stops fetching after an error: then it is told again where to read
        self._stopped = False
        self._consumer = Consumer({**_AHEAD, **settings}, logger=logger)

    def bounds(self) -> tuple[int, int]:
        """The oldest offset, and the one after the newest that is committed."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*self._place), timeout=self._timeout)
        return low, high

    def read(self, start: int, limit: int, wait: float) -> list[Record]:
        """Records from an offset on; waits for the first one."""
        if start != self._next or self._stopped:
            self._consumer.assign([TopicPartition(*self._place, start)])
            self._next, self._end, self._stopped = start, None, False
        return self._take(limit, wait, None)

    def read_before(self, high: int, limit: int) -> list[Record]:
        """Records from where the last `read` began, of which some may be below `high`; none if only marks of
        transactions are."""
        if self._end is not None and self._end >= high:
            return []
        found = self._take(limit, self._timeout, high)
        if not found and self._end is None:
            self._stopped = True
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "records are there, and did not come"))
        return found

    def commit(self, offset: int) -> None:
        self._consumer.commit(offsets=[TopicPartition(*self._place, offset)], asynchronous=True)

    def close(self) -> None:
        self._consumer.close()

    def _take(self, limit: int, wait: float, high: int | None) -> list[Record]:
        until = time.monotonic() + wait
        limit = min(limit, MOST_TAKEN)
        got = self._consumer.consume(limit, 0)
        while True:
            found = self._records(got)
            left = until - time.monotonic()
            if found or left <= 0 or (high is not None and self._end is not None and self._end >= high):
                break
            # asked for many, it would wait for all of them: one, then what came with it
            got = self._consumer.consume(1, min(left, LONGEST_CALL))
            if got:
                got += self._consumer.consume(limit - 1, 0) if limit > 1 else []
        if found:
            self._next = found[-1].offset + 1
        return found

    def _records(self, got: list[Any]) -> list[Record]:
        # compared by identity: an error that is compared with None raises
        if got and not [error for error in map(Message.error, got) if error is not None]:
            self._end = None
            return _all(got)
        out = []
        for message in got:
            error = message.error()
            if error is None:
                self._end = None
                # the second is in milliseconds, whoever set it
                at = message.timestamp()[1] * 1000
                value, headers = message.value(), message.headers()
                out.append(
                    _record((message.offset(), value or b"", message.key(), _plain(headers) if headers else (), at))
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                self._end = message.offset()
            else:
                self._stopped = True
                if out:
                    return out
                if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    raise OutOfRange
                raise KafkaException(error)
        return out


def _all(got: list[Any]) -> list[Record]:
    """The records of messages none of which is an error, column by column: there are many."""
    values, headers = list(map(Message.value, got)), list(map(Message.headers, got))
    if None in values:
        values = [value or b"" for value in values]
    plain: Iterable[Any] = repeat(())
    if headers.count(None) < len(headers):
        plain = [_plain(cast(Any, each)) if each else () for each in headers]
    # in milliseconds, whoever set it
    at = [moment * 1000 for _, moment in map(Message.timestamp, got)]
    return list(map(_record, zip(map(Message.offset, got), values, map(Message.key, got), plain, at, strict=False)))


def _plain(headers: list[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value or b"") for name, value in headers)
