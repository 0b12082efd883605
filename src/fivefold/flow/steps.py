"""Steps of a work: each runs once; one that finished is never run again, by whomever the work is resumed."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fivefold.catalog.journal import Claim, Done, Journal
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict, FivefoldError
from fivefold.core.time import SECOND

LEASE = 10 * SECOND
"""How long a step stays with a worker that stopped saying it lives. Renewed every third of it."""

Say = Callable[[str], None]


def worker_name() -> str:
    """This process, told apart from every other, also after its number is used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class Steps:
    """The steps of one work, begun or resumed.

    >>> # with steps_of(journal, "train:abc", "train") as steps:
    >>> #     snapshot = steps.run("snapshot", lambda: take_snapshot())
    """

    def __init__(
        self, journal: Journal, work_id: str, say: Say | None = None, alive: Callable[[], object] | None = None
    ) -> None:
        self._journal = journal
        self._work = work_id
        self._owner = worker_name()
        self._say = say or (lambda _: None)
        self._alive = alive or (lambda: None)

    def run(self, name: str, do: Callable[[], Json]) -> Any:
        """The result of a step: remembered if it finished before, else made now and remembered.

        `do` may be run again after a crash, so it must be safe to repeat. Raises what `do` raises, after noting it.
        """
        claim = self._claim(name)
        if isinstance(claim, Done):
            return claim.result
        with self._renewed(name, claim):
            try:
                result = do()
            except BaseException as e:
                self._journal.fail(self._work, name, claim.fence, str(e)[:1000])
                raise
            self._journal.finish(self._work, name, claim.fence, result)
        return result

    def _claim(self, name: str) -> Claim | Done:
        waited = False
        while True:
            try:
                return self._journal.claim(self._work, name, self._owner, LEASE)
            except Conflict:
                if not waited:
                    self._say(f"step {name} is held by another worker; taking over when it stops answering")
                waited = True
                time.sleep(0.5)

    @contextmanager
    def _renewed(self, name: str, claim: Claim) -> Iterator[None]:
        over = threading.Event()

        def renew() -> None:
            while not over.wait(LEASE / SECOND / 3):
                try:
                    self._journal.renew(self._work, name, claim.fence, LEASE)
                    self._alive()
                except FivefoldError:
                    return  # the fence will refuse this worker's result, so nothing is written twice

        thread = threading.Thread(target=renew, name=f"lease of {name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def steps_of(
    journal: Journal,
    work_id: str,
    kind: str,
    *,
    key: str = "",
    request: Json = None,
    say: Say | None = None,
    alive: Callable[[], object] | None = None,
) -> Iterator[Steps]:
    """Begin a work, or resume it; it ends as done or failed with the block.

    `alive` is called every few seconds while a step runs, for what else must know that this worker lives.
    """
    journal.begin(work_id, kind, key, request)
    try:
        yield Steps(journal, work_id, say, alive)
    except Exception as e:
        journal.end(work_id, "failed", str(e)[:1000])
        raise
    journal.end(work_id)
