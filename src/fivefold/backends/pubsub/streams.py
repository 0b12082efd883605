"""A Pub/Sub topic: `pubsub://project/topic?inbox=/folder&subscription=name&partitions=4&retention=7d`.

Pub/Sub has no offsets. What a subscription delivers goes into an embedded log below `inbox`, once for each message id,
and is acknowledged when it is on the disk; reads are served from there. All that read through one subscription share
one inbox. Offsets, bounds and times are those of the inbox: it does not know what Pub/Sub still holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as finished
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, TypeVar

import grpc
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.oauth2.service_account import Credentials
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from fivefold.backends.log.streams import Log
from fivefold.backends.pubsub.envelope import arrived, sent
from fivefold.backends.topics import known_partition, seconds, settings, topic_name
from fivefold.backends.url import parse
from fivefold.core.errors import Conflict, Invalid, Unavailable, Unsupported
from fivefold.ports.streams import Broker, Message, Record

T = TypeVar("T")

TIMEOUT = 10.0
# Pub/Sub takes 1,000 messages and 10 MB a request
MOST_SENT = 1000
MOST_BYTES = 8_000_000
MOST_PULLED = 1000
SENDERS = 8
# seconds between looks into the inbox while a request for messages is under way
FIRST_PAUSE = 0.005
PAUSE = 0.02
# seconds in which what was delivered must be acknowledged; it takes milliseconds, and 10 is the least Pub/Sub allows
ACK_DEADLINE = 10

_PASSING = if_exception_type(exceptions.ServiceUnavailable, exceptions.InternalServerError, exceptions.Aborted)


class PubSub:
    """One topic and one subscription, both made where they are missing. `timeout` is how many seconds an answer may
    take, `emulator` host and port of Google's emulator, `credentials` the file of a service account (without it,
    Google's own defaults are used)."""

    def __init__(
        self, url: str, *, topic: str = "", timeout: float | str = TIMEOUT, emulator: str = "", credentials: str = ""
    ) -> None:
        parts = parse(url)
        asked = settings(parts.query, "the pubsub URL", ("partitions", "retention", "subscription", "inbox"))
        name = topic_name(parts.path.strip("/") or topic, "pubsub")
        inbox = asked.rest.get("inbox", "")
        if not parts.host or not inbox:
            raise Invalid(
                "the pubsub URL names no project, or no inbox.",
                hint="Write pubsub://project/topic?inbox=/folder: what is delivered is kept there.",
            )
        self._timeout = seconds(timeout, "pubsub, timeout")
        self._topic = f"projects/{parts.host}/topics/{name}"
        subscription = asked.rest.get("subscription", f"fivefold-{name}")
        self._subscription = f"projects/{parts.host}/subscriptions/{subscription}"
        query = "&".join(f"{key}={value}" for key, value in parts.query.items() if key not in asked.rest)
        self._asking = threading.Lock()
        self._under_way: Future[None] | None = None
        self._open = True
        with ExitStack() as undo:
            self._inbox = Log(f"log:{inbox}?{query}", topic=f"{parts.host}.{subscription}")
            # from the last to the first: what is under way ends when its connection does, and then the inbox is closed
            undo.callback(self._inbox.close)
            self._puller = ThreadPoolExecutor(1, thread_name_prefix="pubsub-pull")
            undo.callback(self._puller.shutdown)
            self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="pubsub-send")
            undo.callback(self._senders.shutdown)
            self._publisher, self._subscriber = self._ask(lambda: _clients(emulator, credentials))
            undo.callback(self._publisher.transport.close)
            undo.callback(self._subscriber.transport.close)
            self._ask(self._make_sure)
            self._undo = undo.pop_all()

    def partitions(self) -> int:
        return self._inbox.partitions()

    def append(self, messages: Sequence[Message], partition: int | None = None) -> None:
        """Messages of a key are sent in order; those without one may be delivered in any."""
        if partition is not None:
            known_partition(partition, self._inbox.partitions(), self._topic)
        self._check_open()
        # a request may hold one ordering key only
        by_key: dict[str, list[dict[str, Any]]] = {}
        for message in messages:
            fields = sent(message, partition)
            by_key.setdefault(fields["ordering_key"], []).append(fields)
        under_way = [self._senders.submit(self._send, some) for some in by_key.values()]
        finished(under_way)
        for each in under_way:
            self._ask(each.result)

    def append_behind(self, messages: Sequence[Message], partition: int, behind: int) -> int:
        raise Unsupported(
            "Pub/Sub cannot send messages only if nobody else did.", hint="Use Kafka, Redis or the embedded log for it."
        )

    def read(self, partition: int, after: int, limit: int, wait: float = 0.0) -> list[Record]:
        self._check_open()
        until = time.monotonic() + wait
        found = self._inbox.read(partition, after, limit)
        if not found and wait <= 0 and self._idle():
            self._ask(partial(self._pull, now=True))
            found = self._inbox.read(partition, after, limit)
        while not found:
            left = until - time.monotonic()
            # what comes is for all partitions, and another process may put it there: it is looked for meanwhile
            finished([self._delivery()], timeout=max(min(left, PAUSE), FIRST_PAUSE))
            found = self._inbox.read(partition, after, limit)
            if left <= 0:
                break
        return found

    def bounds(self, partition: int) -> tuple[int, int]:
        return self._inbox.bounds(partition)

    def done(self, partition: int, offset: int) -> None:
        """Nothing to do: what is in the inbox was acknowledged."""

    def close(self) -> None:
        if self._open:
            self._open = False
            self._undo.close()

    def _idle(self) -> bool:
        with self._asking:
            return self._under_way is None or self._under_way.done()

    def _delivery(self) -> Future[None]:
        """The request for messages that is under way, or a new one.

        It waits for longer than any reader, and is not given up with it: messages that the server hands to somebody
        who just left come again only when their deadline has passed, and hold up their key for as long.
        """
        with self._asking:
            self._check_open()
            before = self._under_way
            if before is not None and not before.done():
                return before
            self._under_way = None
            if before is None or before.exception() is None:
                self._under_way = self._puller.submit(self._pull)
                return self._under_way
        # it failed, perhaps when nobody waited for it any more: now somebody is told
        self._ask(before.result)
        return before

    def _send(self, messages: list[dict[str, Any]]) -> None:
        for some in _requests(messages):
            self._publisher.publish(
                request={"topic": self._topic, "messages": some}, retry=self._retry(), timeout=self._timeout
            )

    def _pull(self, now: bool = False) -> None:
        request: dict[str, Any] = {"subscription": self._subscription, "max_messages": MOST_PULLED}
        if now:
            request["return_immediately"] = True
        try:
            answer = self._subscriber.pull(request=request, retry=None, timeout=self._timeout)
        except exceptions.DeadlineExceeded:
            # nothing came
            return
        came = [(m.ack_id, m.message) for m in answer.received_messages]
        if not came:
            return
        count = self._inbox.partitions()
        self._inbox.take([arrived(m.message_id, m.data, m.attributes, m.ordering_key, count) for _, m in came])
        # should this fail, they are delivered again, known by their ids, and acknowledged then
        self._subscriber.acknowledge(
            request={"subscription": self._subscription, "ack_ids": [id for id, _ in came]},
            retry=self._retry(),
            timeout=self._timeout,
        )

    def _make_sure(self) -> None:
        """The topic and the subscription exist. Raises Conflict when the subscription is another's, or unordered."""
        quick: dict[str, Any] = {"retry": self._retry(), "timeout": self._timeout}
        try:
            self._publisher.get_topic(request={"topic": self._topic}, **quick)
        except exceptions.NotFound:
            _made(lambda: self._publisher.create_topic(request={"name": self._topic}, **quick))
        new = {
            "name": self._subscription,
            "topic": self._topic,
            "enable_message_ordering": True,
            "ack_deadline_seconds": ACK_DEADLINE,
            # else it would be deleted when nobody reads for 31 days
            "expiration_policy": {},
        }
        try:
            found = self._subscriber.get_subscription(request={"subscription": self._subscription}, **quick)
        except exceptions.NotFound:
            _made(lambda: self._subscriber.create_subscription(request=new, **quick))
            return
        if found.topic != self._topic:
            raise Conflict(
                f"{self._subscription} is a subscription of {found.topic}, not of {self._topic}.",
                hint="Name another with subscription=.",
            )
        if not found.enable_message_ordering:
            raise Conflict(
                f"{self._subscription} does not deliver the messages of a key in order.",
                hint="Name another with subscription=, or make it again with message ordering.",
            )

    def _retry(self) -> Retry:
        return Retry(predicate=_PASSING, initial=0.1, maximum=1.0, timeout=self._timeout)

    def _check_open(self) -> None:
        if not self._open:
            raise Unavailable(f"{self._topic} was closed.")

    def _ask(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except exceptions.InvalidArgument as e:
            raise Invalid(f"{self._topic}: {e.message}.") from e
        except (exceptions.GoogleAPIError, GoogleAuthError, OSError) as e:
            raise Unavailable(
                f"Pub/Sub, {self._topic}: {e}.", hint="Look at the network, the credentials and their rights."
            ) from e


def _clients(emulator: str, credentials: str) -> tuple[Any, Any]:
    if emulator:
        any_size = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        channel = grpc.insecure_channel(emulator, any_size)
        return (
            PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
            SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
        )
    service_account: Any = Credentials
    given = service_account.from_service_account_file(credentials) if credentials else None
    return PublisherClient(credentials=given), SubscriberClient(credentials=given)


def _made(make: Callable[[], object]) -> None:
    # unless another process was faster
    with suppress(exceptions.AlreadyExists):
        make()


def _requests(messages: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    size = 0
    for message in messages:
        more = len(message["data"]) + 2048
        if some and (len(some) == MOST_SENT or size + more > MOST_BYTES):
            yield some
            some, size = [], 0
        some.append(message)
        size += more
    if some:
        yield some


provides = {Broker: PubSub}
