"""A shop with a champion and materialised features: as calls, as an application in this process, as a server."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fivefold.core.learning import Model
from fivefold.core.uses import Endpoint
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.materialise import materialise_views
from fivefold.mlops.train import train
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.http.front import App
from fivefold.realtime.http.http1 import Request, Response
from fivefold.realtime.http.why import WhyRoutes
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.workspace import Workspace, open_workspace

PROJECT = '''
import fivefold as ff

def capped(amount, seen):
    if (amount == 13).any():
        raise ValueError("thirteen")
    return amount.clip(0, 50) + seen

orders = ff.Table("orders", "data/orders.csv", time="ordered_at", id="order_id", checks=[
    ff.typed(), ff.check("amount >= 0", on_fail="quarantine"), ff.check("amount < 1000"),
    ff.check("amount < 500", on_fail="warn", name="large")])
customer = ff.Entity("customer", key="customer_id")
spending = ff.FeatureView("spending", customer, orders, [ff.count(over="30d"), ff.sum("amount", over="30d"), ff.last("amount")])
returned = ff.Model("returned", ff.Target(orders, "returned"), learner=ff.learner("logistic", l2=1.0), seed=0,
    features=[spending, ff.Request("amount", float), ff.Derived("ratio", "amount / sum_amount_30d"),
              ff.Udf("capped", capped, ["amount", "count_30d"], float)],
    split=ff.RandomSplit(0.2), gates=[ff.Gate("auc", at_least=0.5)])
live = ff.Endpoint("returned", returned)
'''
AT = 1_772_000_000_000_000
MOMENT = "2026-02-25T06:13:20Z"
ROW = {"customer_id": "c1", "amount": 12.5}


class Shop:
    """A project folder, the commands as calls and as processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def open(self) -> Iterator[Workspace]:
        with open_workspace(self.root, actor="ann") as workspace:
            yield workspace

    @contextmanager
    def app(self, at: int | None = AT, **more: Any) -> Iterator[Asker]:
        """The application in this process, without a network between, for a moment (None: now)."""
        with self.open() as workspace:
            store, log = workspace.online(), PredictionLog(workspace.state)
            endpoints = [e for e in workspace.project.of(Endpoint.kind) if isinstance(e, Endpoint)]
            try:
                live = {e.name: Live(workspace, e, store, log, at) for e in endpoints}
                yield Asker(App(live, log, why=WhyRoutes(workspace), **more), live, log)
            finally:
                log.close()
                store.close()

    def edit(self, old: str, new: str) -> None:
        text = (self.root / "project.py").read_text()
        assert old in text
        (self.root / "project.py").write_text(text.replace(old, new))

    def release(self) -> int:
        """Apply, train and promote what the project file says; the version's number."""
        with self.open() as w:
            checked = plans.check(w)
            apply(w, checked, plans.plan(w))
            model = w.project.get("model", "returned")
            assert isinstance(model, Model)
            version = train(w, model, checked.schemas).version
            assert promote(w, version).champion
        return version.number

    def another_version(self) -> int:
        text = (self.root / "project.py").read_text()
        self.edit(", seed=", ", seed=1")
        assert (self.root / "project.py").read_text() != text
        return self.release()

    def materialise(self, at: int = AT) -> None:
        with self.open() as w:
            materialise_views(w, [], at)

    def run(self, *words: str, program: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(words, program), capture_output=True, text=True, timeout=60)

    def serve(self, *words: str, program: str = "", at: str = MOMENT) -> Server:
        fixed = ("--at", at) if at else ()
        return Server(self._command(("serve", "--port", "0", *fixed, *words), program))

    def _command(self, words: Sequence[str], program: str) -> list[str]:
        run = "from fivefold.cli.main import run; run()"
        return [sys.executable, "-c", f"{program}\n{run}", *words, "--project", str(self.root)]


class Asker:
    """Requests to an application in this process."""

    def __init__(self, app: App, live: dict[str, Live], log: PredictionLog) -> None:
        self.app, self.live, self.log = app, live, log

    def send(
        self, body: bytes = b"", path: str = "/predict/returned", method: str = "POST", **headers: str
    ) -> tuple[int, Any, dict[bytes, bytes]]:
        """Status, decoded body and headers. Headers are named with underscores."""
        status, found, more = self.raw(
            body, path, method, **({"host": "localhost:80", "content_type": "application/json"} | headers))
        return status, json.loads(found), more

    def raw(self, body: bytes = b"", path: str = "/", method: str = "POST", **headers: str) -> tuple[int, bytes, dict[bytes, bytes]]:
        """Status, body as it is and headers; no content type is sent that is not named."""
        named = {"host": "localhost"} | {k.replace("_", "-"): v for k, v in headers.items()}
        path, _, query = path.partition("?")
        request = Request(
            method, path, query.encode(), {k.encode(): v.encode("latin-1") for k, v in named.items()}, body, "")

        async def answered() -> tuple[int, bytes, dict[bytes, bytes]]:
            found = self.app(request)
            response = found if isinstance(found, Response) else await found
            whole = response.body if response.stream is None else b"".join([piece async for piece in response.stream])
            return response.status, whole, {b"content-type": response.kind, **dict(response.headers)}

        return asyncio.run(answered())

    def ask(self, value: Any, path: str = "/predict/returned") -> tuple[int, Any]:
        status, body, _ = self.send(json.dumps(value).encode(), path)
        return status, body


class Server:
    """`fivefold serve` as a process."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = self.grpc = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"serving gRPC on (\S+)", line):
                self.grpc = found.group(1)
            if found := re.search(r"serving on https?://\S+:(\d+)", line):
                self.port = int(found.group(1))
                return
        raise AssertionError(f"it did not listen: {self.said} {self.process.communicate()[1]}")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def connect(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, value: Any = ROW, path: str = "/predict/returned", connection: Any = None) -> tuple[int, Any]:
        made = connection or self.connect()
        made.request("POST", path, json.dumps(value), {"content-type": "application/json"})
        reply = made.getresponse()
        found = reply.status, json.loads(reply.read())
        if connection is None:
            made.close()
        return found

    def get(self, path: str) -> tuple[int, Any]:
        made = self.connect()
        made.request("GET", path)
        reply = made.getresponse()
        found = reply.status, json.loads(reply.read())
        made.close()
        return found

    def stop(self, sig: int = signal.SIGTERM) -> tuple[int, str]:
        """The exit status and what it said on stderr."""
        self.process.send_signal(sig)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err
