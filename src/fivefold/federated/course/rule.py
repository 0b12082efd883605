"""The server's part: what becomes of the sums of a declared federation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fivefold.federated.course.course import Course
from fivefold.federated.course.measuring import CHAMPION, NEW
from fivefold.federated.course.progress import GROWING, OVER, TRAINING, Progress, read_progress
from fivefold.federated.describing import Paying
from fivefold.federated.privacy.accounting import add, epsilon
from fivefold.federated.rounds.gathering import Part
from fivefold.federated.rounds.manifest import Asked
from fivefold.federated.wire.arrays import Arrays

Files = Mapping[str, bytes]


class CourseRule:
    """The rule of the coordinator for a course. Each sum is paid for before it can be known.

    `package` makes the files of a model of what is known, `champion` gives those of the model that it is compared with.
    """

    def __init__(
        self,
        course: Course,
        *,
        package: Callable[[Progress], Files],
        champion: Callable[[], Files] = dict,
        pay: Paying | None = None,
    ) -> None:
        self._course, self._package, self._champion, self._pay = course, package, champion, pay

    def begin(self) -> Arrays:
        return self._course.begin().arrays()

    def broadcast(self, state: Arrays) -> Arrays:
        return read_progress(state).arrays(all=False)

    def asks(self, state: Arrays) -> Asked:
        progress = read_progress(state)
        question, dp = self._course.question(progress), self._course.federation.dp
        spent = [curve for curve in (progress.known.spent, question.curve) if curve]
        return Asked(question.length, question.bits, None if dp is None else epsilon(add(spent), dp.delta))

    def release(self, state: Arrays, round: int) -> None:
        question = self._course.question(read_progress(state))
        if self._pay is not None and question.curve is not None:
            self._pay(str(round), question.what, question.curve)

    def step(self, parts: Sequence[Part], state: Arrays) -> Arrays:
        before = read_progress(state)
        after = self._course.question(before).after(parts)
        if before.known.stage in (TRAINING, GROWING) and after.known.stage not in (TRAINING, GROWING):
            files = {NEW + path: data for path, data in self._package(after).items()}
            files |= {CHAMPION + path: data for path, data in self._champion().items()}
            after = Progress(after.known, after.sent, after.kept, files)
        return after.arrays()

    def done(self, state: Arrays) -> bool:
        return read_progress(state).known.stage == OVER

    def epsilon(self, rounds: int) -> float | None:
        return None  # it stands with what is asked
