"""All that is known after some sums. It is what the server keeps between rounds, and what sites are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.describing import Described
from fivefold.federated.wire.arrays import Arrays
from fivefold.models.trees.growth import Growth

POWERS, MOMENTS, TRAINING, GROWING, MEASURING, OVER = "powers", "moments", "training", "growing", "measuring", "over"
"""The stages: two sums about columns and rounds of a strategy, or trees that grow, then the measure of the result."""

_KNOWN, _SENT, _KEPT, _FILES, _COUNTS = "known", "sent.", "kept.", "files.", "counts"


class Known(msgspec.Struct, frozen=True):
    """Where the course is. `latest` says in which round of the strategy each site was last in the sum; `loss` and
    `clipped` are of that round; `spent` is what all sums together spent of the privacy that is promised."""

    stage: str
    unit: tuple[float, ...] = ()
    described: Described | None = None
    growth: Growth | None = None
    round: int = 0
    ended: bool = False
    reach: float | None = None
    loss: float | None = None
    clipped: float | None = None
    latest: dict[str, int] = {}
    spent: tuple[float, ...] = ()


class Progress(msgspec.Struct, frozen=True):
    """What is known; arrays that sites are sent and that the server keeps (float64); files of packages by path
    (`new/...`, `champion/...`); and the counts `(cells,)` int64 of the measure, at the end."""

    known: Known
    sent: Mapping[str, np.ndarray] = {}
    kept: Mapping[str, np.ndarray] = {}
    files: Mapping[str, bytes] = {}
    counts: np.ndarray | None = None

    def arrays(self, *, all: bool = True) -> dict[str, np.ndarray]:
        """The same as named arrays; without `all`, what sites are sent."""
        known = np.frombuffer(msgspec.msgpack.encode(self.known), np.uint8)
        out = {_KNOWN: known, **{_SENT + name: array for name, array in self.sent.items()}}
        out |= {_FILES + path: np.frombuffer(data, np.uint8) for path, data in self.files.items()}
        if all:
            out |= {_KEPT + name: array for name, array in self.kept.items()}
            if self.counts is not None:
                out[_COUNTS] = self.counts
        return out


def read_progress(arrays: Arrays) -> Progress:
    """Progress from its arrays. Raises Invalid for others."""
    try:
        known = msgspec.msgpack.decode(arrays[_KNOWN].tobytes(), type=Known)
    except (KeyError, msgspec.DecodeError) as wrong:
        raise Invalid(f"this is not the progress of a federation: {wrong}.") from None

    def under(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    files = {path: array.tobytes() for path, array in under(_FILES).items()}
    return Progress(known, under(_SENT), under(_KEPT), files, arrays.get(_COUNTS))
