"""A site's own rows, by the definitions that all sites share; they never leave it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.federation import Federation
from fivefold.core.learning import GroupSplit
from fivefold.core.types import Schema
from fivefold.federated.course.course import Course
from fivefold.federated.describing import Described
from fivefold.federated.learners import Rows, SelfTrained, Trainable
from fivefold.federated.strategies import Memory
from fivefold.lifecycle.training_rows import KNOWN, LABEL, TIME, training_rows
from fivefold.models.package import load
from fivefold.models.splits import split
from fivefold.models.trees.growth import TreeRows
from fivefold.workspace import Workspace


class SiteRows:
    """Training rows `x` `(n, features)`, NaN for null, with labels `y` `(n,)`, and test rows with their segments.

    `number` tells sites apart where they draw at random.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        test: pa.Table,
        y_test: np.ndarray,
        segments: Mapping[str, np.ndarray],
        *,
        name: str = "",
        number: int = 0,
    ) -> None:
        self.x, self.y, self.test, self.y_test, self.segments = x, y, test, y_test, segments
        self.name, self.number = name, number
        self._ready: tuple[Described, Rows | SelfTrained] | None = None
        self._memory: Memory = {}
        self._pending: tuple[int, Memory] | None = None

    def ready(self, described: Described, model: Trainable) -> Rows | SelfTrained:
        """The rows as a learner takes them, made once."""
        if self._ready is None or self._ready[0] != described:
            self._ready = described, model.rows(self.x, self.y)
        return self._ready[1]

    @cached_property
    def trees(self) -> TreeRows:
        """The rows as trees take them."""
        return TreeRows(self.x, self.y)

    def memory(self, latest: Mapping[str, int]) -> Memory:
        """What the site remembers: of the last contribution that is known to be in a sum."""
        if self._pending is not None and latest.get(self.name) == self._pending[0]:
            self._memory = self._pending[1]
        self._pending = None
        return self._memory

    def remember(self, round: int, memory: Memory) -> None:
        """Keep what was made with the contribution of a round, until it is known to be in the sum."""
        self._pending = round, memory

    def predictions(self, files: Mapping[str, bytes], prefix: str) -> np.ndarray:
        """What the package below a prefix says of the test rows `(n,)`: it is verified, and nothing in it is run.

        Raises Invalid for paths that leave it, and what `models.package.load` raises.
        """
        with tempfile.TemporaryDirectory() as folder:
            for path, data in files.items():
                if not path.startswith(prefix):
                    continue
                inner = PurePosixPath(path.removeprefix(prefix))
                if inner.is_absolute() or ".." in inner.parts:
                    raise Invalid(f"the package has a file {path!r} outside itself.")
                (Path(folder) / inner).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / inner).write_bytes(data)
            return load(Path(folder)).predict(self.test)


def site_rows(
    workspace: Workspace, federation: Federation, course: Course, schemas: Mapping[str, Schema], name: str
) -> SiteRows:
    """The rows of a workspace, which are one site's. Raises what reading them raises, and Invalid for none on a side
    of the split."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    return next(iter(_rows(workspace, federation, course, schemas, {name: number}, ()).values()))


def rows_by_site(
    workspace: Workspace, federation: Federation, course: Course, schemas: Mapping[str, Schema]
) -> dict[str, SiteRows]:
    """The rows of a workspace that holds several sites' rows, divided by the federation's column `split`.

    Sites without a row to train on are left out.
    """
    return _rows(workspace, federation, course, schemas, {}, (federation.split,))


def _rows(
    workspace: Workspace,
    federation: Federation,
    course: Course,
    schemas: Mapping[str, Schema],
    whole: Mapping[str, int],
    also: Sequence[str],
) -> dict[str, SiteRows]:
    model = federation.model
    with workspace.database() as connection:
        rows = training_rows(workspace, connection, model, schemas, also=also)
    table = rows.table

    def column(name: str) -> np.ndarray:
        return np.asarray(table[name].to_numpy(zero_copy_only=False))

    parts = split(
        model.split,
        rows=table.num_rows,
        time=rows.micros(TIME),
        known=rows.micros(KNOWN) if KNOWN in table.column_names else None,
        groups=column(model.split.by) if isinstance(model.split, GroupSplit) else None,
    )
    features = table.select(list(course.encoding.names))
    x, y = course.encoding.matrix(features), table[LABEL].cast(pa.float64()).to_numpy()
    segments = {name: column(name).astype(str) for name in course.segments}
    if whole:
        names, owner = dict(whole), np.full(table.num_rows, next(iter(whole)), dtype=object)
    else:
        owner = column(federation.split).astype(str)
        names = {name: i for i, name in enumerate(sorted(set(owner[parts.train].tolist())))}
    out = {}
    for name, number in names.items():
        train, test = parts.train & (owner == name), parts.test & (owner == name)
        out[name] = SiteRows(
            x[train],
            y[train],
            features.filter(pa.array(test)),
            y[test],
            {segment: values[test] for segment, values in segments.items()},
            name=name,
            number=number,
        )
    return out
