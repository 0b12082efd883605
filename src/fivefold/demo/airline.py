"""One airline of the demo, a process of its own: it reads its own flights and takes part. With `--lie` it says of every
flight the opposite. The invitation comes by standard input."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from fivefold.federated.course.definition import declared, task_name
from fivefold.federated.course.joining import join
from fivefold.federated.course.rows import SiteRows
from fivefold.federated.identity.invitation import read_invitation
from fivefold.federated.robust.attacks import label_flip
from fivefold.federated.rounds.enrolment import enrol
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.wire.grpc_line import GrpcLine
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.workspace import open_workspace


def lie(rows: SiteRows) -> None:
    """Say of every flight the opposite of what happened."""
    rows.y = label_flip(rows.y)


def main(folder: Path, *words: str) -> None:
    """Apply the project in a folder, enrol, and take part until there are no more rounds."""
    with open_workspace(folder, actor="airline") as workspace:
        checked = plans.check(workspace)
        apply(workspace, checked, plans.plan(workspace))
        federation = declared(workspace, "carriers")
        keys = folder / "site"
        site = enrol(keys, read_invitation(sys.stdin.buffer.read()), GrpcLine)
        part = join(
            workspace,
            federation,
            checked.schemas,
            task_name(federation.name, "1"),
            folder=keys,
            site=site,
            policy=Policy(),
            say=lambda text: print(f"{site.client}: {text}", flush=True),
            prepare=lie if "--lie" in words else lambda rows: None,
        )
        try:
            part.run(threading.Event())
        finally:
            part.close()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    main(Path(sys.argv[1]), *sys.argv[2:])
