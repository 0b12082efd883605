"""A declared federation in one process, over lines in memory: every site has rows drawn for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from site_rows import drawn
from small_federation import Clock, Server, Site, turn

import fivefold as ff
from fivefold.core.errors import Conflict
from fivefold.core.types import Type
from fivefold.federated.course.course import Course
from fivefold.federated.course.definition import plan_of
from fivefold.federated.course.packaging import package_files
from fivefold.federated.course.progress import Progress, read_progress
from fivefold.federated.course.rows import SiteRows
from fivefold.federated.course.rule import CourseRule
from fivefold.federated.course.site import SiteWork, floors
from fivefold.federated.privacy.ledger import pay
from fivefold.federated.rounds.policy import Policy
from fivefold.models.tasks import Task

ROWS = ff.Table("rows", "r.csv", time="at")
NAMES = ["ada", "bob", "cyd", "dee", "eve", "fay", "gus", "hal"]
TYPES = dict.fromkeys("abcd", Type.FLOAT64)


def declared(learner: ff.Learner = ff.learner("logistic"), gates: Any = (), **more: Any) -> ff.Federation:
    model = ff.Model("m", ff.Target(ROWS, "y"), [ff.Request(n, float) for n in TYPES], learner, ff.RandomSplit(), gates=gates)
    return ff.Federation("f", model, **{"split": "c", "rounds": 3, "strategy": ff.FedAvg(lr=2.0, momentum=0.5), **more})


def ones(count: int) -> bytes:
    """Random numbers that are none: rounding becomes the same everywhere."""
    return bytes(count)


class Sites:
    """The server, and `count` sites with 60 rows for training and 40 for the test each."""

    def __init__(self, folder: Path, federation: ff.Federation, *, count: int = 4, random: Any = None, digest: str = "d",
                 theirs: Any = None, quorum: int | None = None, paying: bool = True, champion: Any = dict, segment: Any = None, url: str = "") -> None:
        folder.mkdir()
        self.refusing: set[tuple[str, str]] = set()
        self.federation, self.clock = federation, Clock()
        self.course = Course(federation, Task("binary"), TYPES, count)
        self.parts = [drawn(60, seed=i, shift=0.5 * (i % 2)) for i in range(count)]
        self.tests = [drawn(40, seed=100 + i, shift=0.25) for i in range(count)]
        self.paying = paying and federation.dp is not None
        rule = CourseRule(self.course, package=lambda p: package_files(folder / "scratch", self.course, p), champion=champion,
                          pay=self.pay if self.paying else None)
        plan = plan_of(self.course, "f@1", digest, seconds=100, quorum=quorum)
        self.server = Server(folder / "server", url or f"sqlite:///{folder}/catalog.db", self.clock, plan, rule=rule)
        self.rows, self.sites, self.spent = [], [], list[str]()
        for i, name in enumerate(NAMES[:count]):
            (x, y), (tx, ty) = self.parts[i], self.tests[i]
            table = pa.table({n: tx[:, k] for k, n in enumerate(TYPES)})
            groups = {} if segment is None else {segment: np.where(tx[:, 0] > 0, "high", "low")}
            rows = SiteRows(x, y, table, ty, groups, name=name, number=i)
            site = Site(self.server, folder, name, "f@1")
            site.policy = floors(theirs or federation, digest, Policy(modes=("secure", "plain", "buckets"), min_clients=2, min_survivors=2))
            mine = Course(theirs, Task("binary"), TYPES, count) if theirs else None
            work = SiteWork(lambda n, c=mine: c or Course(federation, Task("binary"), TYPES, n), lambda course, r=rows: r, "d", random=random or np.random.default_rng(i).bytes,
                            pay=lambda key, what, curve, me=name: self.account(me, key))
            site.part.close()
            site.start(work)
            site.part._tell = work.tell
            self.rows.append(rows)
            self.sites.append(site)

    def pay(self, key: str, what: str, curve: tuple[float, ...]) -> None:
        pay(self.server.catalog.releases, self.federation, f"f@1/{key}", what, curve)

    def account(self, me: str, key: str) -> None:
        if (me, key) in self.refusing:
            raise Conflict("the budget is spent.")
        self.spent.append(f"{me} {key}")

    def run(self, turns: int = 200) -> Progress:
        for _ in range(turns):
            if self.coordinator.over:
                break
            turn(self.sites)
        return self.progress

    @property
    def coordinator(self) -> Any:
        return self.server.coordinators["f@1"]

    @property
    def progress(self) -> Progress:
        return read_progress(self.coordinator.state)

    def said(self) -> str:
        return " ".join(text for site in self.sites for text in site.said)

    def close(self) -> None:
        for site in self.sites:
            site.part.close()
        self.server.catalog.close()
