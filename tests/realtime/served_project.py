"""The stream project, trained, and served between its events."""

from __future__ import annotations

from pathlib import Path

import stream_project as sp

from fivefold.core.learning import Model
from fivefold.core.uses import Endpoint
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.materialise import materialise_views
from fivefold.mlops.train import train
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.protocols.rows import batch_of
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace

END = sp.START + 320 * sp.MINUTE


def trained(folder: Path) -> None:
    sp.make(folder, sp.events(1, 150), '[default]\nstream = "log:.fivefold/streams?partitions=2"\n')
    with sp.opened(folder) as workspace:
        sp.applied(workspace)
        model = workspace.project.get(Model.kind, "m")
        assert isinstance(model, Model)
        made = train(workspace, model, plans.check(workspace).schemas)
        promote(workspace, made.version)
        materialise_views(workspace, [], sp.START + 60 * sp.MINUTE)


def served(workspace: Workspace, at: int, count: int = 40) -> None:
    store, log = workspace.online(), PredictionLog(workspace.state)
    endpoint = workspace.project.get(Endpoint.kind, "m")
    assert isinstance(endpoint, Endpoint)
    try:
        live = Live(workspace, endpoint, store, log)
        rows = [{"who": f"c{n % 7}", "shop": n % 4} for n in range(count)]
        assert not live.answer(batch_of(rows, live.signature.fields, at=at)).errors
    finally:
        log.close()
        store.close()


def worked(workspace: Workspace) -> None:
    with Streaming(workspace) as streaming:
        streaming.drain()
