"""What authentication costs a prediction: the same request through an open and a closed door, in turns.

    python benchmarks/serving/door.py PROJECT_FOLDER ENDPOINT '{"customer_id": "c1", "amount": 12.5}'

The project must have a champion and materialised features. It works on a copy: a token is added.
Prints microseconds of one core per request, handler alone (no network), medians of rounds.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fivefold.access.authenticate import Authenticator, Credentials
from fivefold.access.secret import new_token
from fivefold.core.identity import Role
from fivefold.core.uses import Endpoint
from fivefold.realtime.door import OPEN, Door
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.http.front import App
from fivefold.realtime.http.http1 import Request, Response
from fivefold.realtime.http.routes import Permission
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.workspace import open_workspace

ROUNDS, EACH = 30, 400


def measured(work: Callable[[], object], times: int) -> float:
    """Microseconds of a call."""
    began = time.process_time_ns()
    for _ in range(times):
        work()
    return (time.process_time_ns() - began) / times / 1000


def main(folder: str, name: str, row: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(shutil.copytree(folder, Path(scratch) / "project"))
        with open_workspace(root) as workspace:
            token = new_token()
            workspace.catalog.tokens.add(token.id, "bench", token.digest, actor="bench")
            workspace.catalog.grants.grant("token:bench", Role.VIEWER, actor="bench")
            closed = Door(Authenticator(workspace.catalog))
            store, log = workspace.online(), PredictionLog(workspace.state)
            endpoint = workspace.project.get(Endpoint.kind, name)
            assert isinstance(endpoint, Endpoint)
            live = {name: Live(workspace, endpoint, store, log, None)}
            apps = {"open": App(live, log, door=OPEN), "closed": App(live, log, door=closed)}
            header = f"Bearer {token.text}".encode()
            headers = {b"host": b"localhost", b"content-type": b"application/json"}
            sent = {
                "open": Request("POST", f"/predict/{name}", b"", headers, row.encode(), "127.0.0.1"),
                "closed": Request(
                    "POST", f"/predict/{name}", b"", {**headers, b"authorization": header}, row.encode(), "127.0.0.1"
                ),
            }
            given = Credentials(header, "", "127.0.0.1")

            async def keep() -> None:
                await closed.admit(Permission.PREDICT, given)

            async def answer(kind: str) -> Response:
                found = apps[kind](sent[kind])
                return found if isinstance(found, Response) else await found

            costs: dict[str, list[float]] = {"open": [], "closed": [], "door open": [], "door closed": []}
            for _ in range(ROUNDS):
                asyncio.run(keep())
                for kind in apps:
                    assert asyncio.run(answer(kind)).status == 200

                    async def many(kind: str = kind) -> float:
                        began = time.process_time_ns()
                        for _ in range(EACH):
                            await answer(kind)
                        return (time.process_time_ns() - began) / EACH / 1000

                    costs[kind].append(asyncio.run(many()))
                costs["door open"].append(measured(lambda: OPEN.known(Permission.PREDICT, given), 20_000))
                costs["door closed"].append(measured(lambda: closed.known(Permission.PREDICT, given), 20_000))
            began = time.perf_counter_ns()
            closed._authenticator.verify(given, b"another digest")  # type: ignore[union-attr]
            looked_up = (time.perf_counter_ns() - began) / 1000
            for what, found in costs.items():
                print(f"{what:12} {statistics.median(found):8.2f} us (best {min(found):.2f})")
            print(f"look-up      {looked_up:8.0f} us, once in 5 s for each token, in a thread")
            closed.end()
            log.close()
            store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
