"""What a worker tells its supervisor, twice a second through a pipe: that it is there, ready, and how busy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import msgspec

EVERY_SECONDS = 0.5


class Report(msgspec.Struct, frozen=True):
    """Requests answered and missed (refused, or too late) since the worker began, and the seconds they took together.

    `ready` says that it takes clients, `connections` how many it has.
    """

    ready: bool
    requests: int = 0
    missed: int = 0
    seconds: float = 0.0
    connections: int = 0


write_report = msgspec.json.Encoder().encode
read_report = msgspec.json.Decoder(Report).decode


async def report(pipe: int, measure: Callable[[], Report], gone: Callable[[], None]) -> None:
    """Write reports to a pipe for ever; calls `gone` when nobody reads them any more, for then nobody watches."""
    os.set_blocking(pipe, False)
    while True:
        try:
            os.write(pipe, write_report(measure()) + b"\n")
        except BlockingIOError:
            pass  # it is slow to read; what counts is the last one
        except OSError:
            gone()
            return
        await asyncio.sleep(EVERY_SECONDS)


class Reader:
    """The reports of one worker, as they come in pieces from its pipe."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.last: Report | None = None
        self.heard = time.monotonic()
        """When something came last (`time.monotonic`)."""
        self._rest = b""
        os.set_blocking(pipe, False)

    def read(self) -> bool:
        """Take what has come; False when the worker has closed its end."""
        try:
            data = os.read(self.pipe, 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                self.last = read_report(line)
            except msgspec.MsgspecError:
                continue  # a pipe that was full cut it
            self.heard = time.monotonic()
        return True

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.pipe)
