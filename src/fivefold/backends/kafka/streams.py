"""A Kafka topic: `kafka://host:9092,other:9092/topic?partitions=4`; options are settings of librdkafka.

Partitions are read by position, not as a member of a consumer group: who reads what is decided above. Only committed
records are read. `done` commits to the group `fivefold-<topic>`, so that Kafka's own tools show the lag. A key's
partition is the one that Java's producer chooses, unless `partitioner` says otherwise.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fivefold.backends.kafka.reader import OutOfRange, Reader
from fivefold.backends.topics import (
    known_partition,
    others_sent,
    out_of_range,
    same_partitions,
    seconds,
    settings,
    topic_name,
)
from fivefold.core.errors import Conflict, FivefoldError, Invalid, Unavailable
from fivefold.ports.streams import Broker, Message, Record

T = TypeVar("T")

TIMEOUT = 10.0

# what the guarantees of the port rest on: no option may change it
_READING = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
}
_SENDING = {"enable.idempotence": True, "acks": "all", "delivery.report.only.error": True}


# another producer of the same name has begun
_FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)


class _Aside(logging.LoggerAdapter[logging.Logger]):
    """What librdkafka says, of no use but to who looks for it: it connects again by itself, and who asks meanwhile is
    told by an error."""

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:
        super().log(logging.DEBUG, msg, *args, **more)


_logger = _Aside(logging.getLogger("fivefold.kafka"))


class Kafka:
    """One topic. `timeout` is how many seconds an answer may take; other options are settings of librdkafka, dots
    written as dots or as underscores: `security_protocol="SASL_SSL"`."""

    def __init__(self, url: str, *, topic: str = "", timeout: float | str = TIMEOUT, **options: object) -> None:
        place, _, query = url.partition("?")
        servers, _, named = place.partition(":")[2].removeprefix("//").partition("/")
        if not servers or "@" in servers:
            raise Invalid(
                "the kafka URL names no servers, or a user.",
                hint="Write kafka://host:9092/topic; user and password are the options sasl_username, sasl_password.",
            )
        asked = settings(dict(parse_qsl(query)), "the kafka URL", ("partitions",))
        self._topic = topic_name(named or topic, "kafka")
        self._timeout = seconds(timeout, "kafka, timeout")
        self._given = {**_given(options), "bootstrap.servers": servers}
        self._sending, self._opening = threading.Lock(), threading.Lock()
        self._producer: Any = None
        self._transactional: dict[int, Any] = {}
        self._unsent: list[KafkaError] = []
        self._readers: dict[int, Reader] = {}
        self._open = True
        with ExitStack() as undo:
            undo.callback(self.close)
            have = self._ask(lambda: self._found_or_made(asked.partitions or 1))
            self._count = same_partitions(self._topic, asked.partitions, have)
            undo.pop_all()

    def partitions(self) -> int:
        # who owns the topic may have added some; a topic that is away for a moment keeps those it had
        self._count = self._ask(lambda: self._partitions(AdminClient(self._given, logger=_logger))) or self._count
        return self._count

    def append(self, messages: Sequence[Message], partition: int | None = None) -> None:
        if partition is not None:
            known_partition(partition, self._count, self._topic)
        to = {} if partition is None else {"partition": partition}
        with self._sending, ExitStack() as undo:
            # what is still queued must not be sent behind the back of somebody who was told that it failed
            undo.callback(self._drop_producer)
            self._ask(lambda: self._send(messages, to))
            if self._unsent:
                raise self._unavailable(self._unsent[0])
            undo.pop_all()

    def append_behind(self, messages: Sequence[Message], partition: int, behind: int) -> int:
        known_partition(partition, self._count, self._topic)
        with self._sending:
            self._check_open()
            return self._ask(lambda: self._transact(messages, partition, behind))

    def _transact(self, messages: Sequence[Message], partition: int, behind: int) -> int:
        """Send in a transaction, whose name fences everybody else who sends to the partition like this."""
        settings = {
            "partitioner": "murmur2_random",
            **self._given,
            **_SENDING,
            "transactional.id": f"fivefold-{self._topic}-{partition}",
            "transaction.timeout.ms": int(self._timeout * 1000),
            "error_cb": _note,
        }
        producer = self._transactional.get(partition)
        try:
            if producer is None:
                # what another one had begun is undone by this, and it can begin nothing more
                producer = self._transactional[partition] = Producer(settings, logger=_logger)
                producer.init_transactions(self._timeout)
            if self.bounds(partition)[1] != behind:
                raise others_sent(self._topic, partition)
            producer.begin_transaction()
            for value, key, headers in messages:
                producer.produce(self._topic, value, key, partition=partition, headers=list(headers))
            producer.commit_transaction(self._timeout)
        except (KafkaException, Conflict) as e:
            self._transactional.pop(partition, None)
            if isinstance(e, KafkaException) and e.args[0].code() in _FENCED:
                raise others_sent(self._topic, partition) from None
            raise
        return self.bounds(partition)[1]

    def read(self, partition: int, after: int, limit: int, wait: float = 0.0) -> list[Record]:
        reader = self._reader(partition)
        with reader.lock:
            try:
                # the oldest is asked for by its number: no offset is ever left to librdkafka to choose
                start = after + 1 if after >= 0 else self._ask(reader.bounds)[0]
                found = self._ask(lambda: reader.read(start, limit, wait))
                if found:
                    return found
                low, high = self._ask(reader.bounds)
                if low <= start <= high:
                    # there may be more than was fetched until now
                    return self._ask(lambda: reader.read_before(high, limit)) if start < high else []
            except OutOfRange:
                low, high = self._ask(reader.bounds)
            raise out_of_range(self._topic, partition, after, low, high - 1) or self._unavailable(None)

    def bounds(self, partition: int) -> tuple[int, int]:
        reader = self._reader(partition)
        with reader.lock:
            low, high = self._ask(reader.bounds)
        return low, high - 1

    def done(self, partition: int, offset: int) -> None:
        reader = self._reader(partition)
        with reader.lock:
            self._ask(lambda: reader.commit(offset + 1))

    def close(self) -> None:
        self._open = False
        with self._sending:
            self._drop_producer()
            self._transactional = {}
        with self._opening:
            readers, self._readers = self._readers, {}
        for reader in readers.values():
            with reader.lock:
                reader.close()

    def _found_or_made(self, count: int) -> int:
        admin = AdminClient(self._given, logger=_logger)
        until = time.monotonic() + self._timeout
        have = self._partitions(admin)
        if have:
            return have
        # `at` is to be when the broker took a record, not when somebody says to have sent it
        new = NewTopic(self._topic, count, -1, config={"message.timestamp.type": "LogAppendTime"})
        try:
            admin.create_topics([new], operation_timeout=self._timeout)[self._topic].result(self._timeout)
        except KafkaException as e:
            # another process was faster
            if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        while not (have := self._partitions(admin)):
            if time.monotonic() > until:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the topic was made, and is not there yet"))
            time.sleep(0.05)
        return have

    def _partitions(self, admin: Any) -> int:
        # all topics: asking for one by its name would make it, where the broker makes topics by itself
        found = admin.list_topics(timeout=self._timeout).topics.get(self._topic)
        return len(found.partitions) if found and found.error is None else 0

    def _reader(self, partition: int) -> Reader:
        known_partition(partition, self._count, self._topic)
        with self._opening:
            self._check_open()
            if partition not in self._readers:
                reading = {**self._given, **_READING, "group.id": f"fivefold-{self._topic}", "error_cb": _note}
                self._readers[partition] = Reader(self._topic, partition, reading, _logger, self._timeout)
            return self._readers[partition]

    def _send(self, messages: Sequence[Message], to: dict[str, int]) -> None:
        self._check_open()
        if self._producer is None:
            unsent = self._unsent = []
            sending = {
                "partitioner": "murmur2_random",
                **self._given,
                **_SENDING,
                "delivery.timeout.ms": int(self._timeout * 1000),
                # the list of this producer, not of one that came after it
                "on_delivery": lambda error, _: unsent.append(error),
                "error_cb": _note,
            }
            self._producer = Producer(sending, logger=_logger)
        produce, topic = self._producer.produce, self._topic
        for value, key, headers in messages:
            more: dict[str, Any] = {"headers": list(headers), **to} if headers else to
            while True:
                try:
                    produce(topic, value, key, **more)
                    break
                except BufferError:
                    # its queue is full: those in it are sent, or given up, in the time that delivery may take
                    self._producer.poll(0.05)
        if self._producer.flush(self._timeout + 1):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "some records are still under way"))

    def _drop_producer(self) -> None:
        if self._producer is not None:
            with suppress(KafkaException):
                self._producer.purge()
        self._producer = None

    def _check_open(self) -> None:
        if not self._open:
            raise Unavailable(f"the topic {self._topic!r} was closed.")

    def _ask(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except KafkaException as e:
            raise self._unavailable(e.args[0]) from e

    def _unavailable(self, error: Any) -> FivefoldError:
        servers = self._given["bootstrap.servers"]
        code = error.code() if error is not None else None
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            return Invalid(
                f"a record is too large for the topic {self._topic!r}: {error.str()}.",
                hint="Send less, or raise message.max.bytes here and for the topic.",
            )
        if code == KafkaError._INVALID_ARG:
            return Invalid(f"kafka: {error.str()}.", hint="Options are settings of librdkafka.")
        said = f"{error.str() or error.name()} ({error.name()})" if error is not None else "its offsets changed"
        return Unavailable(
            f"Kafka at {servers}, topic {self._topic!r}: {said}.",
            hint="Look whether the brokers are up, and try again.",
        )


def _given(options: dict[str, object]) -> dict[str, Any]:
    # away and back again is noticed within a second, not within ten
    out: dict[str, Any] = {"reconnect.backoff.max.ms": 1000}
    for name, value in options.items():
        dotted = name.replace("_", ".")
        if dotted in _READING or dotted in _SENDING or dotted in ("group.id", "bootstrap.servers"):
            raise Invalid(f"kafka: the setting {dotted!r} is fixed.", hint="Leave it out.")
        out[dotted] = value
    return out


def _note(error: KafkaError) -> None:
    _logger.debug("%s", error)


provides = {Broker: Kafka}
