"""What a declared federation trains, and the question that comes next: the same for its server and for every site."""

from __future__ import annotations

from collections.abc import Mapping

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.federation import Federation
from fivefold.core.robust import FLTrust
from fivefold.core.types import Type
from fivefold.federated.course.measuring import Measuring
from fivefold.federated.course.progress import GROWING, MEASURING, OVER, POWERS, Known, Progress
from fivefold.federated.course.questions import Growing, Moments, Powers, Question, Training
from fivefold.federated.describing import RELEASES, Described
from fivefold.federated.learners import Trainable, trainable
from fivefold.federated.rounds.manifest import BUCKETS, PLAIN, SECURE
from fivefold.federated.strategies import Running, running
from fivefold.federated.telling import Telling, telling
from fivefold.models.encode import Encoding
from fivefold.models.fitted import Fitted
from fivefold.models.learners import trees
from fivefold.models.tasks import Task
from fivefold.models.trees.growth import start


class Course:
    """A federation with the features of its model, by name and type, and the levels of texts.

    `sites` is how many there are in all. Raises Unsupported for what cannot be trained over sites that only answer
    questions, Invalid for a text without levels.
    """

    def __init__(self, federation: Federation, task: Task, types: Mapping[str, Type], sites: int) -> None:
        self.federation, self.task, self.sites = federation, task, sites
        self.encoding = _encoding(federation, types)
        levels = self.encoding.categories
        self.levels = tuple(len(levels[n]) if n in levels else -1 for n in self.encoding.names)
        self.segments = _segments(federation)
        _require_possible(federation, task)
        self._models: dict[Described, tuple[Trainable, Running]] = {}
        self._tellings: dict[int, Telling] = {}

    @property
    def mode(self) -> str:
        """What the server learns of a round: see `rounds.manifest.Plan`."""
        if self.federation.secure is None:
            return PLAIN
        return SECURE if self.federation.robust is None else BUCKETS

    @property
    def cohort(self) -> int:
        """The most sites in a round."""
        return self.federation.cohort or self.sites

    @property
    def min_survivors(self) -> int:
        """The fewest sites in a sum."""
        return self.federation.secure.min_survivors if self.federation.secure else 1

    @property
    def measured(self) -> bool:
        """Whether the result is measured on the sites' test rows."""
        return self.task.name == "binary"

    @property
    def releases(self) -> int:
        """How many sums are released under the promise of privacy."""
        return self.federation.rounds + RELEASES + self.measured

    @property
    def most_sums(self) -> int:
        """How many sums it takes at most."""
        if self.federation.trained.kind != "trees":
            return self.releases
        how = trees.settings(self.federation.trained, self.task.name)
        return 3 + how.trees * how.depth + self.measured

    def begin(self) -> Progress:
        """Before the first sum."""
        if self.federation.trained.kind != "trees":
            return Progress(Known(POWERS))
        how = trees.settings(self.federation.trained, self.task.name)
        return Progress(Known(GROWING, growth=start(how, len(self.levels), self.task.name == "binary")))

    def question(self, progress: Progress) -> Question:
        """What is asked next. Raises Invalid when nothing is, or for progress of another federation than this one."""
        self._require_mine(progress.known)
        match progress.known.stage:
            case "powers":
                return Powers(self, progress)
            case "moments":
                return Moments(self, progress)
            case "training":
                return Training(self, progress)
            case "growing":
                return Growing(self, progress)
            case "measuring":
                return Measuring(self, progress)
        raise Invalid(f"{self.federation.ref} is over: nothing is asked any more.")

    def _require_mine(self, known: Known) -> None:
        begun, found = self.begin().known, known.described
        trees_grow = (known.growth is not None, begun.growth is not None)
        settings = (known.growth and known.growth.settings, begun.growth and begun.growth.settings)
        levels = self.levels if found is None else found.columns.levels
        if trees_grow[0] != trees_grow[1] or settings[0] != settings[1] or levels != self.levels:
            raise Invalid(f"{self.federation.ref}: the progress is that of another federation.")

    def model(self, described: Described) -> tuple[Trainable, Running]:
        """The learner over columns described so, and the strategy over it."""
        if described not in self._models:
            made = trainable(self.federation.trained, described.columns, self.task.name, total=described.total)
            assert self.federation.steps is not None
            self._models = {described: (made, running(self.federation.steps, made, self.sites))}
        return self._models[described]

    def telling(self, described: Described) -> Telling | None:
        """How contributions are told; None where a trusted server is sent them as they are."""
        if self.federation.secure is None and self.federation.dp is None:
            return None
        if described.total not in self._tellings:
            layout = self.model(described)[1].layout
            made = telling(self.federation, layout, self.cohort, described.total, self.releases)
            self._tellings = {described.total: made}
        return self._tellings[described.total]

    def fitted(self, progress: Progress) -> Fitted | None:
        """The model as far as it is known; None before the first round, and while trees grow."""
        known = progress.known
        if known.growth is not None:
            return trees.fitted(known.growth) if known.growth.done else None
        if known.described is None or not known.round:
            return None
        return self.model(known.described)[0].fitted(progress.sent["parameters"])

    def after_training(self) -> str:
        """The stage that follows when the model is trained."""
        return MEASURING if self.measured else OVER


def _encoding(federation: Federation, types: Mapping[str, Type]) -> Encoding:
    categories: dict[str, tuple[str, ...]] = {}
    for name, kind in types.items():
        if kind is Type.TIMESTAMP:
            raise Invalid(f"{federation.ref}: the feature {name!r} is a timestamp, which no learner takes.")
        if kind is Type.STRING:
            if name not in federation.levels:
                raise Invalid(
                    f"{federation.ref}: the text {name!r} has no levels.", hint=f"Give levels={{{name!r}: [...]}}."
                )
            categories[name] = tuple(federation.levels[name])
    return Encoding(tuple(types), tuple(types.values()), categories)


def _segments(federation: Federation) -> dict[str, tuple[str, ...]]:
    """The values of each column by which a gate is to hold: public, or they could not be asked for."""
    out: dict[str, tuple[str, ...]] = {}
    for gate in federation.model.gates:
        if gate.segment is None:
            continue
        if gate.segment not in federation.levels:
            raise Invalid(
                f"{federation.ref}: a gate of {federation.model.ref} holds within each {gate.segment!r}, whose values "
                "are not public.",
                hint=f"Give levels={{{gate.segment!r}: [...]}}, or leave the segment out of the gate.",
            )
        out[gate.segment] = tuple(federation.levels[gate.segment])
    return out


def _require_possible(federation: Federation, task: Task) -> None:
    if task.name not in ("binary", "regression"):
        raise Unsupported(f"{federation.ref}: a federation trains binary and regression models, not {task.name}.")
    if federation.keep < 1:
        raise Unsupported(
            f"{federation.ref}: keep={federation.keep:g} is not sent over a network yet.",
            hint="Leave it out; train_together takes it in one process.",
        )
    if isinstance(federation.robust, FLTrust):
        raise Unsupported(
            f"{federation.ref}: FLTrust needs rows of the server's own, which a federation over a network has not.",
            hint="Use ff.Median() or ff.Krum(...); train_together takes trusted rows in one process.",
        )
    if federation.dp is not None and federation.dp.unit == "client":
        raise Unsupported(
            f"{federation.ref}: columns cannot be described by their sites under unit='client'.",
            hint="Use unit='row'; or train_together(described=...) with public numbers, in one process.",
        )
