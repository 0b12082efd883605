"""Answers that are waited for: in the loop's own coroutines, or without a task by whoever started the request."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fivefold.realtime.http.http1 import Response
from fivefold.realtime.protocols.batch import Outcome


class Waiting(asyncio.Future[Outcome]):
    """The answer to one batch. Cancelled, nobody waits for it any more.

    `resume` goes on with a coroutine that no task drives, in the same turn of the loop as the answer.
    """

    resume: Callable[[], None] | None = None

    def give(self, found: Outcome | BaseException) -> None:
        """Answer, or say why there is no answer; who has left is not answered."""
        if self.done():
            return
        if isinstance(found, BaseException):
            self.set_exception(found)
        else:
            self.set_result(found)
        resume, self.resume = self.resume, None  # kept, it would be a cycle for each request
        if resume is not None:
            resume()


class Ready:
    """An answer that is there already."""

    __slots__ = ("_found",)

    def __init__(self, found: Outcome) -> None:
        self._found = found

    def __await__(self) -> Generator[Any, None, Outcome]:
        return self._found
        yield  # never: nothing is waited for


class Later:
    """A response that is being made: `then` is called with it, once, unless it was cancelled."""

    __slots__ = ("_answering", "_task", "_then", "_waiting")

    def __init__(self, answering: Coroutine[Any, Any, Response], waiting: Waiting) -> None:
        self._answering = answering
        self._task: asyncio.Task[Response] | None = None
        self._then: Callable[[Response], None] | None = None
        self._wait(waiting)

    def then(self, call: Callable[[Response], None]) -> None:
        """What is done with the response."""
        self._then = call

    def cancel(self) -> None:
        """Nobody waits for the response any more: what has not been computed for it never is."""
        self._then = None
        if self._task is not None:
            self._task.cancel()
            return
        self._waiting.resume = None
        self._waiting.cancel()
        self._answering.close()

    def __await__(self) -> Generator[Any, None, Response]:
        whole: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.then(whole.set_result)
        return whole.__await__()

    def _wait(self, waiting: Waiting) -> None:
        self._waiting = waiting
        waiting.resume = self._resume

    def _resume(self) -> None:
        try:
            waits_for = self._answering.send(None)
        except StopIteration as done:
            self._tell(done.value)
            return
        if isinstance(waits_for, Waiting):
            self._wait(waits_for)
            return
        self._task = asyncio.get_running_loop().create_task(_finish(self._answering, waits_for))
        self._task.add_done_callback(lambda t: None if t.cancelled() else self._tell(t.result()))

    def _tell(self, response: Response) -> None:
        if self._then is not None:
            self._then(response)


async def _finish(started: Coroutine[Any, Any, Response], waits_for: Any) -> Response:
    return await resumed(started, waits_for)


@types.coroutine
def resumed(started: Coroutine[Any, Any, Response], waits_for: Any) -> Generator[Any, Any, Response]:
    """What a coroutine gives that was started, and waits for something."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as e:
                waits_for = started.throw(e)
            else:
                waits_for = started.send(sent)
    except StopIteration as done:
        found: Response = done.value
        return found
