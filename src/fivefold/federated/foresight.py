"""What `fivefold plan` says of a federation before it runs: bytes, rounding, noise; or why it cannot be."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fivefold.core.expressions import parse
from fivefold.core.feature_names import feature_types
from fivefold.core.federation import Federation
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.data.duck import ident, parquet
from fivefold.federated.learners import trainable
from fivefold.federated.privacy.outlook import outlook
from fivefold.federated.strategies import running
from fivefold.models.formats.linear import Columns
from fivefold.models.learners import trees
from fivefold.models.tasks import task_of
from fivefold.workspace import Workspace


def foreseen(workspace: Workspace, federation: Federation, schemas: Mapping[str, Schema]) -> tuple[str, ...]:
    """One sentence a matter. Of rows and sites it knows what was last read of the target's source.

    The projects of the server and of a single site know too little to say. Raises Invalid for a federation that cannot
    keep what it declares: too few sites, or too many bytes.
    """
    model = federation.model
    source = rows_of(model.target.source)
    snapshot = workspace.find_snapshot(source.name)
    if snapshot is None:
        return (f"what it costs is said once {source.ref} has been read: fivefold apply, then fivefold plan",)
    with workspace.database() as connection:
        rows = parquet(snapshot.files(workspace.places.tables))
        ((sites,),) = connection.sql(f"select count(distinct {ident(federation.split)}) from {rows}").fetchall()
    if sites < 2:
        whose = f"{snapshot.rows:,} rows of one site: it is that site's" if sites else "no rows: it is the server's"
        return (f"this project has {whose}; where the rows of several sites are, their cost is said",)
    cohort = min(federation.cohort or sites, sites)
    # declared with the sites there are, it is held against the rules of any declaration: survivors, buckets, attackers
    federation = msgspec.structs.replace(federation, cohort=cohort)
    says = [f"{sites} sites have {snapshot.rows:,} rows in all"]
    task = task_of(parse(model.target.label, schemas[source.name], model.ref).type, grouped=False).name
    types = feature_types(model, schemas)
    if federation.trained.kind == "trees":
        how = trees.settings(federation.trained, task)
        numbers = 2 ** (how.depth - 1) * len(types) * (how.bins + 1) * 3
        return *says, f"{how.trees} trees are grown by up to {how.depth} sums each, the largest of {numbers:,} numbers"
    levels = tuple(len(federation.levels.get(n, ())) if k is Type.STRING else -1 for n, k in types.items())
    width = len(types)
    # as wide as it can be: every number with a flag of null
    columns = Columns((0.0,) * width, (1.0,) * width, tuple(n < 0 for n in levels), levels)
    learned = trainable(federation.trained, columns, task, total=snapshot.rows, classes=2)
    assert federation.steps is not None
    layout = running(federation.steps, learned, sites).layout
    return *says, *outlook(federation, layout, learned.layout.size, cohort, snapshot.rows).says
