"""Values in Redis or Valkey: `redis://host:6379/0`, `rediss://` for TLS."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fivefold.backends.url import parse
from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.spaces import after_prefix, changed, checked, empty_key, split

CHUNK, CHUNK_BYTES = 1000, 1 << 20
STAGED_FOR = 3_600_000
"""Milliseconds after which values that a writer put beside a space, and then never switched to, are forgotten."""

# what follows runs in the server, each as one step that no other client sees the middle of
_GET = b"""
local out, at = {}, 1
for i = 1, #KEYS do
  local last = at + tonumber(ARGV[at])
  for first = at + 1, last, 1000 do
    local found = redis.call('HMGET', KEYS[i], unpack(ARGV, first, math.min(first + 999, last)))
    for j = 1, #found do out[#out + 1] = found[j] end
  end
  at = last + 1
end
return out
"""
_COMMIT = b"""
local starts, at = {}, 1
for i = 1, (#KEYS - 1) / 2 do
  starts[i] = at
  local mark = redis.call('HGET', KEYS[1], ARGV[at])
  if ARGV[at + 1] == '0' then
    if mark then return i end
  elseif mark ~= ARGV[at + 2] then
    return i
  end
  at = at + 6 + 2 * tonumber(ARGV[at + 4]) + tonumber(ARGV[at + 5])
end
for i, at in ipairs(starts) do
  local values, keys = KEYS[2 * i], KEYS[2 * i + 1]
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 3])
  local puts = at + 6
  local removals = puts + 2 * tonumber(ARGV[at + 4])
  for j = puts, removals - 1, 2 do
    if redis.call('HSET', values, ARGV[j], ARGV[j + 1]) == 1 then redis.call('ZADD', keys, 0, ARGV[j]) end
  end
  for j = removals, removals + tonumber(ARGV[at + 5]) - 1 do
    if redis.call('HDEL', values, ARGV[j]) == 1 then redis.call('ZREM', keys, ARGV[j]) end
  end
end
return 0
"""
_SWITCH = b"""
local count = tonumber(ARGV[3])
if redis.call('HLEN', KEYS[4]) ~= count or redis.call('ZCARD', KEYS[5]) ~= count then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3])
if count > 0 then
  redis.call('RENAME', KEYS[4], KEYS[2])
  redis.call('RENAME', KEYS[5], KEYS[3])
  redis.call('PERSIST', KEYS[2])
  redis.call('PERSIST', KEYS[3])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
_DROP = b"""
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[2], KEYS[3])
return 1
"""
_PAGE = b"""
local out, size = {}, 0
for _, key in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local value = redis.call('HGET', KEYS[1], key)
  out[#out + 1] = key
  out[#out + 1] = value
  size = size + #value
  if size > tonumber(ARGV[4]) then break end
end
return out
"""
_SCRIPTS = {text: hashlib.sha1(text).hexdigest() for text in (_GET, _COMMIT, _SWITCH, _DROP, _PAGE)}


class Redis:
    """Fits OnlineStore. A commit is as durable as the server is set to be: `appendonly yes`, `appendfsync always`. Its
    `maxmemory-policy` must be `noeviction`, else it throws values away and keeps their marks.

    `cluster` says that the URL is of one node of several, which tells where the others are; there is no database but 0.
    A space is a hash of its values and, for scans, a sorted set of its keys: a scan that collected and sorted would
    move the whole space for each page, whereas the set costs something only when a key is new. The marks of a
    partition are one hash. All keys of a partition hold the tag `{prefix:partition}`, so that they share a slot.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        prefix: str = "ff:online",
        timeout: float = 10,
        cluster: bool = False,
    ) -> None:
        where = parse(url)
        database = where.path.strip("/") or "0"
        if not where.host or not database.isdecimal():
            raise Invalid(f"{where} is not the place of a store.", hint="Write redis://host:6379/0.")
        if not prefix or set(prefix) & {"{", "}"}:
            raise Invalid(f"the prefix {prefix!r} cannot be used (accepted: text without braces).")
        self._shown = str(where)
        self._prefix = prefix
        given: dict[str, Any] = {
            "host": where.host,
            "port": where.port or 6379,
            "username": username or where.user or None,
            "password": password or where.password or None,
            "ssl": where.scheme in ("rediss", "valkeys"),
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # a commit whose answer was lost must not be sent again: it would find its own mark and call it a conflict
            "retry": Retry(NoBackoff(), 0),
        }
        try:
            self._client: Any = redis.RedisCluster(**given) if cluster else redis.Redis(db=int(database), **given)
        except (redis.RedisError, redis.exceptions.RedisClusterException) as e:
            raise self._error(e) from None
        self._closed = False

    def __repr__(self) -> str:
        return f"Redis({self._shown!r})"

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        # by hash: the partition it is of, the fields that are asked of it, and where in the answer they belong
        asked: dict[bytes, tuple[str, list[bytes], list[int]]] = {}
        for i, (space, key) in enumerate(pairs):
            held = _held(self._prefix, space)
            place, field = (held.marks, held.name) if key == MARK else (held.values, key)
            group = asked.get(place)
            if group is None:
                group = asked[place] = (held.partition, [], [])
            group[1].append(field)
            group[2].append(i)
        calls: dict[str, tuple[list[bytes], list[Any], list[int]]] = {}
        for place, (partition, fields, spots) in asked.items():
            keys, words, order = calls.setdefault(partition, ([], [], []))
            keys.append(place)
            words += (len(fields), *fields)
            order += spots
        answers = self._run([_call(_GET, keys, words) for keys, words, _ in calls.values()], again=True)
        found: list[bytes | None] = [None] * len(pairs)
        for (_, _, order), values in zip(calls.values(), answers, strict=True):
            for i, value in zip(order, values, strict=True):
                found[i] = value
        return found

    def replace(self, space: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        held = _held(self._prefix, space)
        staged = f"{{{self._prefix}:{held.partition}}}:staged:{uuid.uuid4().hex}:".encode()
        beside = [staged + b"values", staged + b"keys"]
        count = 0
        try:
            for chunk in _chunks(space, items):
                count += self._stage(beside, chunk)
            keys = [held.marks, held.values, held.keys, *beside]
            (switched,) = self._write(held.partition, _call(_SWITCH, keys, [held.name, mark, count]))
        except BaseException:
            # they are forgotten by and by; this only makes it sooner
            with contextlib.suppress(Unavailable):
                self._run([("UNLINK", *beside)])
            raise
        if not switched:
            raise Unavailable(
                f"the values put beside the space {space!r} were forgotten before they were complete: more than "
                f"{STAGED_FOR // 60_000} minutes went by between two of them, or the server started anew.",
                hint="Try again; nothing was changed.",
            )
        return count

    def commit(self, writes: Sequence[Write]) -> None:
        partition = checked(writes)
        if not writes:
            return
        keys, words = [_held(self._prefix, writes[0].space).marks], list[Any]()
        for write in writes:
            held = _held(self._prefix, write.space)
            last = dict(write.items)
            put = [word for key, value in last.items() if value is not None for word in (key, value)]
            removed = [key for key, value in last.items() if value is None]
            keys += [held.values, held.keys]
            words += [held.name, int(write.expected is not None), write.expected or b"", write.mark]
            words += [len(put) // 2, len(removed), *put, *removed]
        (other,) = self._write(partition, _call(_COMMIT, keys, words))
        if other:
            raise changed(writes[other - 1].space)

    def scan(self, space: str, after: bytes = MARK, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        held = _held(self._prefix, space)
        end = after_prefix(prefix)
        first = b"[" + prefix if prefix > after else b"(" + after
        while True:
            words = [first, b"+" if end is None else b"(" + end, CHUNK, CHUNK_BYTES]
            (page,) = self._run([_call(_PAGE, [held.values, held.keys], words)], again=True)
            if not page:
                return
            yield from zip(page[::2], page[1::2], strict=True)
            first = b"(" + page[-2]

    def spaces(self) -> list[str]:
        (partitions,) = self._run([("SMEMBERS", self._partitions)], again=True)
        labels = [label.decode() for label in partitions]
        found = self._run([("HKEYS", _marks(self._prefix, label)) for label in labels], again=True)
        return sorted(
            f"{name.decode()}/{label}" if label else name.decode()
            for label, names in zip(labels, found, strict=True)
            for name in names
        )

    def drop(self, space: str) -> None:
        held = _held(self._prefix, space)
        self._run([_call(_DROP, [held.marks, held.values, held.keys], [held.name])], again=True)

    def close(self) -> None:
        self._closed = True
        self._client.close()

    @property
    def _partitions(self) -> bytes:
        return f"{self._prefix}:partitions".encode()

    def _stage(self, beside: list[bytes], chunk: list[tuple[bytes, bytes]]) -> int:
        values, keys = beside
        added, *_ = self._run(
            [
                ("HSET", values, *(word for item in chunk for word in item)),
                ("ZADD", keys, *(word for key, _ in chunk for word in (0, key))),
                *(("PEXPIRE", key, STAGED_FOR) for key in beside),
            ]
        )
        return int(added)

    def _write(self, partition: str, call: tuple[Any, ...]) -> list[Any]:
        # a partition that is known and holds nothing is fine, so this need not be one step with the writing
        return self._run([("SADD", self._partitions, partition), call])[1:]

    def _run(self, calls: Sequence[tuple[Any, ...]], *, again: bool = False) -> list[Any]:
        """The answers to commands that are sent in one go; `again` says that sending them twice does no harm."""
        if self._closed:
            raise Unavailable(f"the online store {self._shown} was closed.")
        if not calls:
            return []
        try:
            answers = self._send(calls)
        except (redis.ConnectionError, redis.TimeoutError) as e:
            if not again or isinstance(e, redis.AuthenticationError):
                raise self._error(e) from None
            try:
                answers = self._send(calls)
            except (redis.RedisError, redis.exceptions.RedisClusterException) as still:
                raise self._error(still) from None
        except (redis.RedisError, redis.exceptions.RedisClusterException) as e:
            raise self._error(e) from None
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._error(answer) from None
        return answers

    def _send(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        answers = self._send_once(calls)
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            # a server that started anew, or never saw us; none of the scripts has run
            for text in _SCRIPTS:
                self._client.script_load(text)
            answers = self._send_once(calls)
        return answers

    def _send_once(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        if len(calls) == 1:
            try:
                return [self._client.execute_command(*calls[0])]
            except redis.ResponseError as refused:
                return [refused]
        with self._client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command(*call)
            # not raised there: its message would hold the command, values and all
            return list(pipeline.execute(raise_on_error=False))

    def _error(self, error: Exception) -> Invalid | Unavailable:
        if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
            return Invalid(f"{self._shown} refuses these credentials.", hint="Check the options username and password.")
        if isinstance(error, redis.exceptions.MovedError | redis.exceptions.AskError):
            return Invalid(f"{self._shown} is one node of a cluster.", hint="Give the option cluster = true.")
        if isinstance(error, redis.TimeoutError | redis.ConnectionError):
            return Unavailable(
                f"{self._shown} did not answer: {_first_line(error)}.",
                hint="Check that it runs. A commit may have been made: read the mark before you try again.",
            )
        return Unavailable(f"{self._shown} refused: {_first_line(error)}.", hint="Look for a full or read-only server.")


class _Held(NamedTuple):
    """The keys in the server that a space is held under."""

    name: bytes
    partition: str
    marks: bytes
    values: bytes
    keys: bytes


@lru_cache(maxsize=4096)
def _held(prefix: str, space: str) -> _Held:
    name, partition = split(space)
    tag = f"{{{prefix}:{partition}}}"
    return _Held(
        name.encode(),
        partition,
        _marks(prefix, partition),
        f"{tag}:values:{name}".encode(),
        f"{tag}:keys:{name}".encode(),
    )


def _marks(prefix: str, partition: str) -> bytes:
    return f"{{{prefix}:{partition}}}:marks".encode()


def _call(script: bytes, keys: Sequence[bytes], words: Sequence[Any]) -> tuple[Any, ...]:
    return ("EVALSHA", _SCRIPTS[script], len(keys), *keys, *words)


def _chunks(space: str, items: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Items in lists that are short and, but for a single large value, small."""
    chunk, size = list[tuple[bytes, bytes]](), 0
    for item in items:
        if item[0] == MARK:
            raise empty_key(space)
        chunk.append(item)
        size += len(item[1])
        if len(chunk) == CHUNK or size > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


provides = {OnlineStore: Redis}
