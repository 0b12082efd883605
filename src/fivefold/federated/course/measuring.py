"""How good the model is, by counts of test rows: by label, by what the model says and what the champion says of them.

The counts are summed like anything else, noisy under a promise of privacy. What gates are decided on is made of them:
rows that lie in the middle of their cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from fivefold.federated.course.progress import OVER, Progress
from fivefold.federated.course.questions import counted, moved
from fivefold.federated.describing import Counting, counting
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.rounds.gathering import Part

if TYPE_CHECKING:
    from fivefold.federated.course.course import Course
    from fivefold.federated.course.rows import SiteRows

NEW, CHAMPION = "new/", "champion/"
FINE, COARSE = (1024, 64), (64, 20)
"""Cells of a prediction for one model, and for two: finer without noise, which is in every cell."""
CERTAIN = 2.0
"""Cells with fewer rows than so many standard deviations of the noise count as empty."""


class Counts(NamedTuple):
    """Test rows as they were told: labels and what the models say of them `(n,)`, and values of a segment `(n,)`."""

    y: np.ndarray
    p: np.ndarray
    champion: np.ndarray | None
    segment: np.ndarray | None


class Measuring:
    """Counts of test rows `(group, label, model's cell, champion's cell)`: of all, and of each segment's values."""

    def __init__(self, course: Course, progress: Progress) -> None:
        self._course, self._progress = course, progress
        self._shape = shape(course, progress)
        segments, dp = len(course.segments), course.federation.dp
        self._how: Counting = counting(
            math.prod(self._shape),
            dp,
            # a row is counted once among all, and at most once for each segment
            change=math.sqrt(1 + segments),
            most=1,
            releases=course.releases,
            min_survivors=course.min_survivors,
            sites=course.cohort,
        )
        self.length, self.bits, self.curve = self._how.length, self._how.bits, self._how.curve
        self.what = "counts of test rows by prediction"

    def tell(self, site: SiteRows, random: RandomBytes) -> np.ndarray:
        _, _, cells, others = self._shape
        mine = _cell(site.predictions(self._progress.files, NEW), cells)
        theirs = _cell(site.predictions(self._progress.files, CHAMPION), others) if others > 1 else np.zeros_like(mine)
        at = (site.y_test.astype(np.int64) * cells + mine) * others + theirs
        size = 2 * cells * others
        parts = [np.bincount(at, minlength=size)]
        for name, values in self._course.segments.items():
            parts += [np.bincount(at[site.segments[name] == value], minlength=size) for value in values]
        return self._how.hide(np.concatenate(parts).astype(np.int64), random)

    def after(self, parts: Sequence[Part]) -> Progress:
        total, sites = counted(self._how, parts)
        certain = np.where(total > CERTAIN * self._how.noise(sites), total, 0)
        return msgspec.structs.replace(moved(self._progress, self.curve, stage=OVER), counts=certain)


def shape(course: Course, progress: Progress) -> tuple[int, int, int, int]:
    """Groups, labels, cells of the model, cells of the champion (1 without one)."""
    groups = 1 + sum(map(len, course.segments.values()))
    one, two = FINE if course.federation.dp is None else COARSE
    compared = any(path.startswith(CHAMPION) for path in progress.files)
    return (groups, 2, two, two) if compared else (groups, 2, one, 1)


def rows_of_counts(course: Course, progress: Progress, segment: str | None = None) -> Counts:
    """Rows in the middle of their cells, as many as were counted: all of them, or those with a value of a segment."""
    assert progress.counts is not None
    groups, labels, cells, others = shape(course, progress)
    counts = progress.counts.reshape(groups, labels, cells, others)
    places: Mapping[str | None, list[int]] = _places(course)
    group, y, p, champion = np.nonzero(counts)
    chosen = np.isin(group, places[segment])
    group, y, p, champion = (v[chosen] for v in (group, y, p, champion))
    many = counts[group, y, p, champion]
    values = np.array([str(v) for value in course.segments.values() for v in value])
    return Counts(
        np.repeat(y, many).astype(np.float64),
        np.repeat((p + 0.5) / cells, many),
        np.repeat((champion + 0.5) / others, many) if others > 1 else None,
        None if segment is None else np.repeat(values[group - 1], many),
    )


def _places(course: Course) -> dict[str | None, list[int]]:
    out: dict[str | None, list[int]] = {None: [0]}
    at = 1
    for name, values in course.segments.items():
        out[name] = list(range(at, at := at + len(values)))
    return out


def _cell(p: np.ndarray, cells: int) -> np.ndarray:
    return (p * cells).astype(np.int64).clip(0, cells - 1)
