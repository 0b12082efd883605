"""Workers on one socket: started, watched, replaced, and as many as the load asks for.

All accept from the same listening socket, each only while its loop is free, so that the least busy takes the next
client and nothing stands in between. A worker that dies, or says nothing for a while, is replaced; the new one takes
clients once it is ready.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from fivefold.realtime.processes.autoscaler import Policy, Seen, State, decide
from fivefold.realtime.processes.reports import Reader, Report

SILENT_SECONDS = 10.0
"""A worker that says nothing for so long is stuck."""
START_SECONDS = 120.0
"""How long a worker may take to be ready."""
DRAIN_SECONDS = 15.0
"""How long a worker that was told to leave may take: what is left of it then is killed."""
TICK_SECONDS = 2.0
"""How often the number of workers is thought over."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""How long it waits to start a worker again that died: twice as long each time it dies young."""
YOUNG_SECONDS = 30.0

Command = Callable[[int, int], Sequence[str]]
"""The words that start a worker, of the listening socket and of the pipe it reports to."""


class Worker:
    """A process that serves."""

    def __init__(self, command: Command, listening: socket.socket) -> None:
        ours, theirs = os.pipe()
        try:
            self.process = subprocess.Popen(
                list(command(listening.fileno(), theirs)), pass_fds=(listening.fileno(), theirs), start_new_session=True
            )
        finally:
            os.close(theirs)
        self.reports = Reader(ours)
        self.started = time.monotonic()
        self.leaving: float | None = None
        self.counted = Report(False)
        """What it had reported when the load was measured last."""

    @property
    def ready(self) -> bool:
        """Whether it takes clients."""
        return self.leaving is None and self.reports.last is not None and self.reports.last.ready

    def leave(self) -> None:
        """Tell it to finish what it has and to end."""
        if self.leaving is None:
            self.leaving = time.monotonic()
            self.process.terminate()

    def stuck(self, now: float) -> str:
        """Why it has to be killed; empty when it has not."""
        if self.leaving is not None:
            return "it did not end" if now - self.leaving > DRAIN_SECONDS else ""
        if self.reports.last is None or not self.reports.last.ready:
            return "it did not get ready" if now - self.started > START_SECONDS else ""
        return "it said nothing" if now - self.reports.heard > SILENT_SECONDS else ""


class Supervisor:
    """Keeps workers on a listening socket until it is told to stop.

    SIGTERM and SIGINT end it, SIGHUP replaces the workers one by one. `say` is told what happens,
    `gone` which process is gone and whether it was told to leave (`left`) or not (`died`).
    """

    def __init__(
        self,
        command: Command,
        listening: socket.socket,
        policy: Policy,
        say: Callable[[str], None] | None = None,
        gone: Callable[[int, str], None] = lambda pid, why: None,
    ) -> None:
        self._gone = gone
        self._command, self._socket, self._policy = command, listening, policy
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self.workers: list[Worker] = []
        self._scale = State(policy.least)
        self._old: list[Worker] = []
        """Workers that are to be replaced, one by one."""
        self._pause, self._start_at = FIRST_PAUSE, 0.0
        self._over = self._again = False
        self._measured = time.monotonic()
        self._selector = selectors.DefaultSelector()

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return self._scale.workers

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Supervise until told to stop; `ready` is called when the first worker takes clients."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(read, False)
        self._selector.register(read, selectors.EVENT_READ, None)
        before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        waker = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        try:
            while not self._over:
                self.step()
                if ready is not None and any(w.ready for w in self.workers):
                    ready()
                    ready = None
                self._wait(read)
            self._end(read)
        finally:
            signal.set_wakeup_fd(waker)
            for sig, handler in before.items():
                signal.signal(sig, handler)
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
            os.close(read)
            os.close(write)
            self._selector.close()

    def step(self) -> None:
        """Look after the workers once."""
        now = time.monotonic()
        self._bury(now)
        if now - self._measured >= TICK_SECONDS:
            self._think(now)
        if self._again:
            self._again = False
            self._old = [w for w in self.workers if w.leaving is None]
        self._replace()
        staying = [w for w in self.workers if w.leaving is None]
        missing = self.wanted + (1 if self._old else 0) - len(staying)
        if missing > 0 and now >= self._start_at:
            for _ in range(missing):
                self._start()
        elif missing < 0:
            # the one with the fewest clients is missed least
            ready = [w for w in staying if w.ready and w not in self._old]
            for worker in sorted(ready, key=lambda w: (w.reports.last or w.counted).connections)[:-missing]:
                if len([w for w in self.workers if w.ready]) > 1:
                    worker.leave()

    def _start(self) -> None:
        worker = Worker(self._command, self._socket)
        self.workers.append(worker)
        self._selector.register(worker.reports.pipe, selectors.EVENT_READ, worker)

    def _bury(self, now: float) -> None:
        """Take out the workers that are gone, and end those that are stuck."""
        for worker in list(self.workers):
            if why := worker.stuck(now):
                self._say(f"worker {worker.process.pid} is killed: {why}.")
                worker.process.kill()
                worker.process.wait()
            code = worker.process.poll()
            if code is None:
                continue
            self.workers.remove(worker)
            self._old = [w for w in self._old if w is not worker]
            if worker.reports.pipe in self._selector.get_map():
                self._selector.unregister(worker.reports.pipe)
            worker.reports.close()
            self._gone(worker.process.pid, "died" if worker.leaving is None else "left")
            if worker.leaving is not None:
                continue
            young = now - worker.started < YOUNG_SECONDS
            self._pause = min(LONGEST_PAUSE, 2 * self._pause) if young else FIRST_PAUSE
            # one that served is missed at once; one that does not even start is not asked again at once
            self._start_at = now + (self._pause if young and not worker.ready else 0.0)
            self._say(f"worker {worker.process.pid} ended with {code}; another one is started.")

    def _replace(self) -> None:
        """Let an old worker go once a new one has come for it."""
        self._old = [w for w in self._old if w in self.workers and w.leaving is None]
        if not self._old:
            return
        fresh = [w for w in self.workers if w.ready and w not in self._old]
        if len(fresh) + len(self._old) > self.wanted:
            self._old.pop(0).leave()

    def _think(self, now: float) -> None:
        """Measure the load since the last time, and decide on the number of workers."""
        passed, self._measured = now - self._measured, now
        seconds, requests, missed, heard = 0.0, 0, 0, False
        for worker in self.workers:
            last = worker.reports.last
            if last is None:
                continue
            heard = True
            seconds += last.seconds - worker.counted.seconds
            requests += last.requests - worker.counted.requests
            missed += last.missed - worker.counted.missed
            worker.counted = last
        # Little's law: requests under way are the seconds they took, by the seconds that passed
        seen = [Seen(now, seconds / passed, requests, missed)] if heard else []
        before = self._scale
        self._scale = decide(self._policy, before, seen, sum(w.ready for w in self.workers), now)
        if self._scale.workers != before.workers:
            self._say(f"{self._scale.workers} workers instead of {before.workers}: {seconds / passed:.1f} under way.")

    def _wait(self, waker: int, seconds: float = 0.1) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                os.read(waker, 1024)
            elif not key.data.reports.read():
                self._selector.unregister(key.fd)  # it is ending: its process will be found

    def _end(self, waker: int) -> None:
        for worker in self.workers:
            worker.leave()
        while self.workers:
            self._bury(time.monotonic())
            self._wait(waker, 0.05)

    def _on_signal(self, sig: int, _: object) -> None:
        if sig == signal.SIGHUP:
            self._again = True
        elif self._over and sig == signal.SIGINT:
            for worker in self.workers:
                worker.process.kill()
        else:
            self._over = True
