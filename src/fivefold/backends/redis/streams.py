"""A topic in Redis or Valkey: `redis://host:6379/0/takeoffs?partitions=4&retention=7d&max_records=1000000`.

Each partition is a Redis stream, `{fivefold:takeoffs:0}:records`, whose entries have the offset in their id: `17-1` is
record 17. A key's partition is its CRC-32 modulo their number. How much a crash of the server can lose is a setting of
the server: `appendonly yes` with `appendfsync always` loses nothing.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fivefold.backends.topics import (
    known_partition,
    others_sent,
    out_of_range,
    same_partitions,
    seconds,
    settings,
    spread,
    topic_name,
)
from fivefold.backends.url import parse
from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.streams import Broker, Message, Record

T = TypeVar("T")

TIMEOUT = 10.0
# a read that blocks for longer is asked again, so that a server that went away is noticed
LONGEST_BLOCK = 2.0
# records of one step of the server: it takes a million arguments, and serves nobody else meanwhile
MOST_SENT = 50_000

# Entries have the fields v (value), t (when it came), k (key, if any) and h (headers, if any). The script is one step
# for all who look. What is too old is looked for in blocks of 100, 20 of them at most, so that no append pays for all.
_APPEND = """
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000000 + time[2])
local following = tonumber(redis.call('GET', KEYS[2]) or '0')
if ARGV[3] ~= '' and following ~= tonumber(ARGV[3]) then
  return -1
end
for i = 4, #ARGV, 3 do
  local fields = {'v', ARGV[i], 't', now}
  if ARGV[i + 1] ~= '' then
    fields[#fields + 1] = 'k'
    fields[#fields + 1] = string.sub(ARGV[i + 1], 2)
  end
  if ARGV[i + 2] ~= '' then
    fields[#fields + 1] = 'h'
    fields[#fields + 1] = ARGV[i + 2]
  end
  redis.call('XADD', KEYS[1], string.format('%d-1', following), unpack(fields))
  following = following + 1
end
redis.call('SET', KEYS[2], string.format('%d', following))
if ARGV[1] ~= '0' then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
end
if ARGV[2] ~= '0' then
  local before = tonumber(now) - tonumber(ARGV[2])
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  for _ = 1, 20 do
    if #first == 0 or tonumber(first[1][2][4]) >= before then break end
    local block = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 100)
    local kept = nil
    for i = 1, #block do
      if tonumber(block[i][2][4]) >= before then
        kept = block[i][1]
        break
      end
    end
    redis.call('XTRIM', KEYS[1], 'MINID', kept or (block[#block][1] .. '0'))
    if kept then break end
    first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
  end
end
return following
"""

_encode = msgspec.msgpack.Encoder().encode
_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


class Redis:
    """One topic. `timeout` is how many seconds an answer may take; the other options are redis-py's."""

    def __init__(
        self,
        url: str,
        *,
        topic: str = "",
        timeout: float | str = TIMEOUT,
        username: str | None = None,
        password: str | None = None,
        ssl_ca_certs: str | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
    ) -> None:
        parts = parse(url)
        database, _, named = parts.path.strip("/").partition("/")
        if not database.isdigit():
            database, named = "0", database
        asked = settings(parts.query, f"the {parts.scheme} URL", ("partitions", "retention", "max_records"))
        self._topic = topic_name(named or topic, parts.scheme)
        self._limits = [str(asked.max_records), str(asked.retention)]
        self._turns = itertools.count(random.randrange(1 << 30))
        self._place = f"{parts.host or '127.0.0.1'}:{parts.port or 6379}"
        patience = seconds(timeout, f"{parts.scheme}, timeout")
        secure: dict[str, Any] = {
            "ssl": True,
            "ssl_ca_certs": ssl_ca_certs,
            "ssl_certfile": ssl_certfile,
            "ssl_keyfile": ssl_keyfile,
        }
        self._client: Any = redis.Redis(
            host=parts.host or "127.0.0.1",
            port=parts.port or 6379,
            db=int(database),
            username=username or parts.user or None,
            password=password or parts.password or None,
            socket_timeout=patience + LONGEST_BLOCK,
            socket_connect_timeout=patience,
            # an append that was sent again might be there twice
            retry=Retry(NoBackoff(), 0),
            **(secure if parts.scheme == "rediss" else {}),
        )
        self._append = self._client.register_script(_APPEND)
        self._open = True
        with ExitStack() as undo:
            undo.callback(self.close)
            self._count = same_partitions(self._topic, asked.partitions, self._found_or_made(asked.partitions or 1))
            undo.pop_all()

    def partitions(self) -> int:
        return self._count

    def append(self, messages: Sequence[Message], partition: int | None = None) -> None:
        if partition is not None:
            known_partition(partition, self._count, self._topic)
        for chosen, some in spread(messages, partition, self._count, self._turns).items():
            keys = [self._records(chosen), self._following(chosen)]
            for start in range(0, len(some), MOST_SENT):
                arguments: list[str | bytes] = [*self._limits, "", *_fields(some[start : start + MOST_SENT])]
                self._ask(partial(self._append, keys=keys, args=arguments))

    def append_behind(self, messages: Sequence[Message], partition: int, behind: int) -> int:
        known_partition(partition, self._count, self._topic)
        if len(messages) > MOST_SENT:
            raise Invalid(f"{len(messages)} messages cannot be sent as one (accepted: {MOST_SENT}).")
        keys = [self._records(partition), self._following(partition)]
        following = self._ask(
            partial(self._append, keys=keys, args=[*self._limits, str(behind + 1), *_fields(messages)])
        )
        if following < 0:
            raise others_sent(self._topic, partition)
        return int(following) - 1

    def read(self, partition: int, after: int, limit: int, wait: float = 0.0) -> list[Record]:
        known_partition(partition, self._count, self._topic)
        after = max(after, -1)
        until = time.monotonic() + wait
        while True:
            left = until - time.monotonic()
            found = self._ask(partial(self._look, partition, after, limit, min(left, LONGEST_BLOCK)))
            if not found or found[0].offset != after + 1:
                wrong = out_of_range(self._topic, partition, after, *self.bounds(partition))
                if wrong:
                    raise wrong
            if found or left <= LONGEST_BLOCK:
                return found

    def bounds(self, partition: int) -> tuple[int, int]:
        known_partition(partition, self._count, self._topic)

        def ask() -> tuple[int, int]:
            with self._client.pipeline(transaction=True) as both:
                both.get(self._following(partition))
                both.xrange(self._records(partition), count=1)
                following, oldest = both.execute()
            newest = int(following or 0) - 1
            return (_offset(oldest[0][0]) if oldest else newest + 1), newest

        return self._ask(ask)

    def done(self, partition: int, offset: int) -> None:
        """Keep it in `{fivefold:takeoffs:0}:done`, for those who look at the lag."""
        known_partition(partition, self._count, self._topic)
        self._ask(lambda: self._client.set(self._key(partition, "done"), offset))

    def close(self) -> None:
        self._open = False
        self._client.close()

    def _look(self, partition: int, after: int, limit: int, block: float) -> list[Record]:
        # ids are above zero, so that nothing is left out below 0-1
        since = f"{after}-1" if after >= 0 else "0-0"
        answer = self._client.xread(
            {self._records(partition): since}, count=limit, block=max(1, int(block * 1000)) if block > 0 else None
        )
        if not answer:
            return []
        entries = answer[0][1] if isinstance(answer, list) else next(iter(answer.values()))
        return [_record(id, fields) for id, fields in entries]

    def _found_or_made(self, count: int) -> int:
        def ask() -> int:
            place = f"{{fivefold:{self._topic}}}:partitions"
            self._client.set(place, count, nx=True)
            return int(self._client.get(place))

        return self._ask(ask)

    def _key(self, partition: int, what: str) -> str:
        return f"{{fivefold:{self._topic}:{partition}}}:{what}"

    def _records(self, partition: int) -> str:
        return self._key(partition, "records")

    def _following(self, partition: int) -> str:
        return self._key(partition, "next")

    def _ask(self, work: Callable[[], T]) -> T:
        if not self._open:
            raise Unavailable(f"the topic {self._topic!r} was closed.")
        try:
            return work()
        except (redis.RedisError, OSError) as e:
            raise Unavailable(
                f"Redis at {self._place}, topic {self._topic!r}: {e or type(e).__name__}.",
                hint="Look whether the server is up, and try again.",
            ) from e


def _fields(messages: Sequence[Message]) -> list[bytes]:
    return [
        part
        for value, key, headers in messages
        for part in (value, b"" if key is None else b"k" + key, _encode(headers) if headers else b"")
    ]


def _offset(id: bytes) -> int:
    return int(id.partition(b"-")[0])


def _record(id: bytes, fields: dict[bytes, bytes]) -> Record:
    headers = fields.get(b"h")
    return Record(_offset(id), fields[b"v"], fields.get(b"k"), _headers(headers) if headers else (), int(fields[b"t"]))


provides = {Broker: Redis}
