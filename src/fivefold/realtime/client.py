"""Asks the endpoints of several hosts: the less busy of two, again where that is safe and cheap, and around sick ones.

    with Client(["http://a:8000", "http://b:8000"]) as client:
        client.predict("late", {"origin": "JFK", "tailnum": "N14228"}, timeout=0.2)

Two random choices (Mitzenmacher 2001), outlier ejection and retry budgets as Envoy has them, hedged requests as in Dean
and Barroso, "The Tail at Scale" (2013). A prediction changes nothing, so asking twice is safe; labels and events are
kept once by their identifiers.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from fivefold.core.errors import Invalid, NotFound, Unavailable

FAILURES = 5
"""So many failures in a row make a host be left alone."""
EJECTED_SECONDS, LONGEST_EJECTED = 30.0, 300.0
"""For how long: as many times the first as it was ejected lately, at most the second."""
FEW_RETRIES, RETRY_SHARE = 3, 0.2
"""Retries and hedges under way: at most so many, or this share of all requests under way if that is more."""
REMEMBERED = 500
"""Latencies by which it is judged when an answer is slow."""
_IDLE = 16  # connections kept to a host

_RETRIED = (429, 502, 503, 504)


class Refused(Unavailable):
    """An answer that says no: its status, and how many seconds to wait, where it says so."""

    def __init__(self, message: str, status: int, retry_after: float | None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status, self.retry_after = status, retry_after


class Host:
    """One server: its connections, how many requests it has from here, and whether it is well."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{url!r} is no address of a server.", hint="Write http://host:8000.")
        self.url = url
        self._secure, self._name = parts.scheme == "https", parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False
        self.under_way = 0
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0

    def ask(self, path: str, body: bytes, headers: Mapping[str, str], timeout: float) -> tuple[int, bytes, str | None]:
        """Status, body and Retry-After of an answer. Raises OSError or HTTPException when there is none."""
        while True:
            try:
                connection, fresh = self._idle.pop(), False
            except IndexError:
                made = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
                connection, fresh = made(self._name, self._port), True
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            try:
                connection.request("POST", path, body, dict(headers))
                answer = connection.getresponse()
                found = answer.status, answer.read(), answer.getheader("retry-after")
            except TimeoutError:
                connection.close()
                raise
            except (OSError, http.client.HTTPException):
                connection.close()
                if fresh:
                    raise
                continue  # the server had let go of a connection that was idle: that is no failure
            if answer.will_close or self._closed or len(self._idle) >= _IDLE:
                connection.close()
            else:
                self._idle.append(connection)
                if self._closed:
                    self.close()
            return found

    def close(self) -> None:
        """Close the connections that wait, and the others once they are answered."""
        self._closed = True
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()


class Client:
    """A client of the same endpoints on several hosts; threads may share it.

    An answer that takes longer than 19 of 20 is asked for at another host as well (`hedge=False`: never). `token` is
    sent as a bearer token.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        timeout: float = 5.0,
        hedge: bool = True,
        token: str = "",
        clock: Callable[[], float] = time.monotonic,
        threads: int = 32,
    ) -> None:
        if not hosts:
            raise Invalid("a client needs a host.", hint='Give addresses such as ["http://a:8000"].')
        self.hosts = [Host(url) for url in hosts]
        self._timeout, self._hedge, self._clock = timeout, hedge, clock
        self._headers = {"content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._lock = threading.Lock()
        self._extra = 0
        """Retries and hedges under way."""
        self._latencies: deque[float] = deque(maxlen=REMEMBERED)
        self._slow = float("inf")
        self._pool = ThreadPoolExecutor(threads, "fivefold client")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; requests under way are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for host in self.hosts:
            host.close()

    def predict(
        self, endpoint: str, row: Mapping[str, Any], *, at: str = "", timeout: float | None = None
    ) -> dict[str, Any]:
        """The answer to one row: `prediction`, `id`, `features` and so on, as `POST /predict/ENDPOINT` gives it.

        `at` is the moment (ISO 8601) to answer for, now when left out; `timeout` (seconds) is for everything together.
        Raises Invalid for a row that the endpoint does not take,
        NotFound for an unknown endpoint, Unavailable when no host gives an answer in time (Refused, if one said no).
        """
        answer = self._ask(f"/predict/{quote(endpoint)}" + (f"?at={quote(at)}" if at else ""), row, timeout)
        (only,) = answer.pop("rows")
        return {**answer, **only}

    def predict_many(
        self, endpoint: str, rows: Sequence[Mapping[str, Any]], *, timeout: float | None = None
    ) -> dict[str, Any]:
        """The answers to rows, each with its own error where it has one. Raises what `predict` raises."""
        return self._ask(f"/predict/{quote(endpoint)}", {"rows": list(rows)}, timeout)

    def feedback(self, labels: Mapping[str, Any], *, timeout: float | None = None) -> dict[str, Any]:
        """Tell what was true: labels by the identifiers of predictions. Raises what `predict` raises."""
        return self._ask("/feedback", {"labels": [{"id": i, "label": v} for i, v in labels.items()]}, timeout)

    def _ask(self, path: str, value: Any, timeout: float | None) -> dict[str, Any]:
        body = msgspec.json.encode(value)
        end = self._clock() + (self._timeout if timeout is None else timeout)
        tried: list[Host] = []
        error: Exception | None = None
        while (left := end - self._clock()) > 0:
            if tried and not self._begin_extra():
                break
            extra = bool(tried)
            try:
                return self._once(path, body, left, tried)
            except Refused as e:
                error = e
                if e.status not in _RETRIED:
                    raise
                pause = (e.retry_after or 0.0) if len(self.hosts) == 1 else 0.0
                if pause >= end - self._clock():
                    break
                time.sleep(pause)
            except (OSError, http.client.HTTPException) as e:
                error = e
            finally:
                if extra:
                    self._end_extra()
        if isinstance(error, Refused):
            raise error
        raise Unavailable(
            f"no answer from {', '.join(h.url for h in self.hosts)} in time"
            + (f": {type(error).__name__}: {error}" if error is not None else "")
            + ".",
            hint="Look whether they run, or give more time.",
        )

    def _once(self, path: str, body: bytes, left: float, tried: list[Host]) -> dict[str, Any]:
        """One try, with a second one beside it when it takes long; the first answer counts."""
        first = self._choose(tried)
        tried.append(first)
        if not self._hedge or len(self.hosts) < 2 or self._slow >= left:
            return self._sent(first, path, body, left)
        end = self._clock() + left
        asked: set[Future[dict[str, Any]]] = {self._pool.submit(self._sent, first, path, body, left)}
        done, _ = wait(asked, self._slow)
        hedged = False
        if not done and self._begin_extra():
            hedged = True
            second = self._choose(tried)
            tried.append(second)
            asked.add(self._pool.submit(self._sent, second, path, body, max(0.001, end - self._clock())))
        try:
            error: BaseException | None = None
            while asked:
                done, asked = wait(asked, max(0.001, end - self._clock()), FIRST_COMPLETED)
                if not done:
                    raise TimeoutError("it took too long.")
                for each in done:
                    error = each.exception()
                    if error is None:
                        return each.result()
            assert error is not None
            raise error
        finally:
            if hedged:
                self._end_extra()

    def _sent(self, host: Host, path: str, body: bytes, timeout: float) -> dict[str, Any]:
        began = self._clock()
        with self._lock:
            host.under_way += 1
        try:
            status, said, retry = host.ask(path, body, self._headers, timeout)
        except (OSError, http.client.HTTPException):
            self._failed(host)
            raise
        finally:
            with self._lock:
                host.under_way -= 1
        if status >= 500:
            self._failed(host)
        else:
            host.failures = 0
        if status != 200:
            raise _refusal(host, status, said, retry)
        if not host.failures and host.ejections and began > host.ejected_until:
            host.ejections -= 1
        self._took(self._clock() - began)
        found: dict[str, Any] = msgspec.json.decode(said)
        return found

    def _choose(self, tried: Sequence[Host]) -> Host:
        now = self._clock()
        well = [h for h in self.hosts if h.ejected_until <= now]
        # when most are said to be sick it is likelier something else: all are asked again
        if len(well) * 2 < len(self.hosts) or not well:
            well = self.hosts
        fresh = [h for h in well if h not in tried] or [h for h in self.hosts if h not in tried] or well
        two = random.sample(fresh, min(2, len(fresh)))
        return min(two, key=lambda h: h.under_way)

    def _failed(self, host: Host) -> None:
        with self._lock:
            host.failures += 1
            if host.failures >= FAILURES:
                host.failures = 0
                host.ejections += 1
                host.ejected_until = self._clock() + min(LONGEST_EJECTED, EJECTED_SECONDS * host.ejections)

    def _took(self, seconds: float) -> None:
        with self._lock:
            self._latencies.append(seconds)
            if len(self._latencies) >= 50 and len(self._latencies) % 10 == 0:
                self._slow = sorted(self._latencies)[int(0.95 * len(self._latencies))]

    def _begin_extra(self) -> bool:
        """Whether a retry or hedge may be made: they must not make an overload worse."""
        with self._lock:
            under_way = sum(h.under_way for h in self.hosts)
            if self._extra >= max(FEW_RETRIES, RETRY_SHARE * under_way):
                return False
            self._extra += 1
            return True

    def _end_extra(self) -> None:
        with self._lock:
            self._extra -= 1


def _refusal(host: Host, status: int, body: bytes, retry: str | None) -> Exception:
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        told = {}
    error = told.get("error") if isinstance(told, dict) else None
    message = error.get("message", "") if isinstance(error, dict) else str(error or body[:200])
    hint = error.get("hint", "") if isinstance(error, dict) else ""
    milliseconds = told.get("retry_after_ms") if isinstance(told, dict) else None
    after = float(retry) if retry and retry.isdigit() else None
    if isinstance(milliseconds, int):
        after = milliseconds / 1000
    if status == 404:
        return NotFound(message, hint=hint)
    if 400 <= status < 500 and status not in _RETRIED:
        return Invalid(message, hint=hint)
    return Refused(f"{host.url} answered {status}: {message}", status, after, hint)
