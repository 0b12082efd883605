"""The numbers of all workers, whichever of them is asked: each writes its own to a file beside the others'.

What is shown was written first, so that a counter never goes down: not when another worker is asked next, and not when
one is killed. The supervisor adds up what the dead have left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from fivefold.realtime.telemetry.families import BY_NAME, Buckets, Kind, Sample, Together

_SUFFIX = ".numbers"
_GONE = "gone"
_REMEMBERED = 64
"""Workers whose numbers were added up lately, so that who reads meanwhile does not count them twice."""


class Written(msgspec.Struct, frozen=True, array_like=True):
    """Samples, and the names of files that are counted in."""

    samples: list[Sample] = []
    of: list[str] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Written).decode


class Shared:
    """The numbers of one worker among others. `measure` gives its own; `folder` is the supervisor's."""

    def __init__(self, folder: Path, measure: Callable[[], list[Sample]], pid: int | None = None) -> None:
        self._folder, self._measure = folder, measure
        self._name = f"{os.getpid() if pid is None else pid}{_SUFFIX}"

    def write(self) -> None:
        """Write what this worker has now. Raises OSError where it cannot."""
        _write(self._folder / self._name, Written(self._measure()))

    def __call__(self) -> list[Sample]:
        """The samples of all workers together. Raises OSError when they cannot be written or read."""
        self.write()
        found = {}
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path.stem != _GONE:
                with suppress(FileNotFoundError):  # a worker that is gone: it is counted below
                    found[path.name] = _read(path).samples
        # read last: whoever was added up meanwhile is in it, and is named
        gone = _read(self._folder / f"{_GONE}{_SUFFIX}")
        return together([gone.samples, *(samples for name, samples in found.items() if name not in gone.of)])


def add_up(folder: Path, pid: int, why: str) -> None:
    """Keep the counters of a worker that is gone. Raises OSError where they cannot be written."""
    path, sums = folder / f"{pid}{_SUFFIX}", folder / f"{_GONE}{_SUFFIX}"
    gone = _read(sums)
    mine = [s for s in _read(path).samples if BY_NAME[s.name].kind is not Kind.GAUGE]
    ended = Sample("fivefold_workers_ended", (why,), 1)
    _write(sums, Written(together([gone.samples, mine, [ended]]), [*gone.of, path.name][-_REMEMBERED:]))
    path.unlink(missing_ok=True)


def together(many: Iterable[Iterable[Sample]]) -> list[Sample]:
    """What several workers have together: counters and histograms in sum, gauges as their family says."""
    found: dict[tuple[str, tuple[str, ...]], float | Buckets] = {}
    for samples in many:
        for name, labels, value in ((s.name, s.labels, s.value) for s in samples):
            before = found.get((name, labels))
            found[name, labels] = value if before is None else _both(name, before, value)
    return [Sample(name, labels, value) for (name, labels), value in found.items()]


def _both(name: str, one: float | Buckets, other: float | Buckets) -> float | Buckets:
    if isinstance(one, Buckets):
        assert isinstance(other, Buckets)
        counts = [a + b for a, b in zip(one.counts, other.counts, strict=True)]
        return Buckets(one.bounds, counts, one.total + other.total)
    assert not isinstance(other, Buckets)
    return max(one, other) if BY_NAME[name].together is Together.MOST else one + other


def _write(path: Path, written: Written) -> None:
    # another name meanwhile: who reads sees all of it or what was there before
    new = path.with_suffix(".new")
    new.write_bytes(_encode(written))
    new.replace(path)


def _read(path: Path) -> Written:
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return Written()
