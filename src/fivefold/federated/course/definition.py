"""From a workspace to the course of a federation: the server and every site read it from their own project."""

from __future__ import annotations

from collections.abc import Mapping

from fivefold.core.errors import Invalid
from fivefold.core.expressions import parse
from fivefold.core.feature_names import feature_types
from fivefold.core.federation import Federation
from fivefold.core.robust import require_enough
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema
from fivefold.federated.course.course import Course
from fivefold.federated.rounds.manifest import BUCKETS, Plan
from fivefold.models.tasks import task_of
from fivefold.workspace import Workspace
from fivefold.workspace.applied import require_applied


def declared(workspace: Workspace, name: str) -> Federation:
    """A federation of the project, as it is applied. Raises NotFound, and Conflict for changes not applied."""
    found = workspace.project.get(Federation.kind, name)
    assert isinstance(found, Federation)
    require_applied(workspace, [found.ref])
    return found


def definitions(workspace: Workspace, federation: Federation) -> str:
    """A digest of the federation and of all it stands on: with the same one, the same is computed."""
    return workspace.project.closure_digests[federation.ref]


def course_of(federation: Federation, schemas: Mapping[str, Schema], sites: int) -> Course:
    """The course of a federation of so many sites. Raises what `Course` raises."""
    model = federation.model
    source = rows_of(model.target.source)
    label = parse(model.target.label, schemas[source.name], f"{model.ref}, label")
    return Course(
        federation,
        task_of(label.type, grouped=model.target.group is not None),
        feature_types(model, schemas),
        sites,
    )


def task_name(federation: str, run: str) -> str:
    """The name of one run of a federation, under which its rounds are kept and paid for."""
    return f"{federation}@{run}"


def plan_of(
    course: Course, task: str, digest: str, *, quorum: int | None = None, seconds: float = 600.0, attempts: int = 5
) -> Plan:
    """The plan of the rounds of a course: each begins once `quorum` sites are there (all, unless given).

    Raises Invalid for sites that are too few for what was declared.
    """
    federation = course.federation
    buckets = course.cohort // course.min_survivors if course.mode == BUCKETS else 1
    if course.cohort < course.min_survivors:
        raise Invalid(
            f"{federation.ref}: {course.cohort} sites can never be min_survivors={course.min_survivors}.",
            hint="Enrol more sites, or accept fewer survivors.",
        )
    if federation.robust is not None:
        what = "sites" if course.mode != BUCKETS else f"buckets of {course.min_survivors} sites"
        require_enough(federation.robust, course.cohort if course.mode != BUCKETS else buckets, what)
    return Plan(
        task=task,
        rounds=course.most_sums,
        cohort=course.cohort,
        min_survivors=course.min_survivors,
        mode=course.mode,
        quorum=course.cohort if quorum is None else quorum,
        buckets=buckets,
        seconds=seconds,
        attempts=attempts,
        definitions=digest,
        settings={"sites": course.sites},
    )
