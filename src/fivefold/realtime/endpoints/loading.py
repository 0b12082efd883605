"""Versions loaded, and put together, into what an endpoint asks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from fivefold.core.errors import FivefoldError
from fivefold.core.uses import Endpoint
from fivefold.features.recent import FeatureCache
from fivefold.ports.online import OnlineStore
from fivefold.realtime.batching.cache import PredictionCache
from fivefold.realtime.endpoints.answering import Answering
from fivefold.realtime.endpoints.answers import Answers
from fivefold.realtime.endpoints.stepwise import Stepwise
from fivefold.realtime.protocols.batch import Batch
from fivefold.workspace import Workspace
from fivefold.workspace.graphs import keep_graph
from fivefold.workspace.served import served

WARM = 20
"""How often a version answers the row that it was tested on before it answers anybody."""


class Loader:
    """Loads versions for an endpoint."""

    def __init__(
        self,
        workspace: Workspace,
        endpoint: Endpoint,
        cache: PredictionCache | None,
        tenant: str,
        recent: FeatureCache | None,
    ) -> None:
        self._workspace, self._endpoint, self._cache, self._tenant = workspace, endpoint, cache, tenant
        self._recent = recent
        self.models = [m.name for m in endpoint.models]

    def load(self, versions: Mapping[str, int], beside: Answers | None = None) -> Answers:
        """What answers by these versions, one a model; those that `beside` has are taken from it.

        Raises what `served` raises, and Invalid where one does not take what another gives.
        """
        endpoint = self._endpoint
        held: Mapping[str, Answering] = beside.members if isinstance(beside, Stepwise) else {}
        members = {
            model: held[model]
            if model in held and held[model].served.version.number == number
            else Answering(
                endpoint.name,
                served(self._workspace, self._workspace.catalog.versions.get(model, number)),
                self._cache,
                self._tenant,
                self._recent,
                endpoint.fallback,
            )
            for model, number in versions.items()
        }
        if not endpoint.steps:
            return members[endpoint.model.name]
        return Stepwise(endpoint, members, keep_graph(self._workspace, endpoint.steps))


def warm(answers: Answers, store: OnlineStore, at: int) -> None:
    """Have versions answer the row that they were tested on some times, for nobody."""
    example, fields = answers.example, answers.fields
    with suppress(FivefoldError):  # what is wrong here is said to those who ask
        for _ in range(WARM):
            answers.answer(store, [Batch(fields, {n: (example.get(n),) for n in fields}, 1)], at)
