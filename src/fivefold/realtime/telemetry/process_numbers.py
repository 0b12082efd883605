"""What the system says of this process: CPU, memory, open files, when it started."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fivefold.realtime.telemetry.families import Sample

_STARTED = time.time()


def process_numbers() -> list[Sample]:
    """The samples of this process; memory and open files only where there is a /proc."""
    times = os.times()
    out = [
        Sample("process_cpu_seconds", (), times.user + times.system),
        Sample("process_start_time_seconds", (), _STARTED),
    ]
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        # the folder that is read is one of them
        files = len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return out
    return [
        *out,
        Sample("process_resident_memory_bytes", (), pages * os.sysconf("SC_PAGE_SIZE")),
        Sample("process_open_fds", (), files),
    ]
