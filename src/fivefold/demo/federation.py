"""Airlines learn together, as real processes with mutual TLS on loopback, through dropouts, a liar and kill -9.

The hub has weather and no flights; each airline has its own. What came of it is compared with a model of all flights in
one place, and with each airline's own model, on the same flights.
"""

from __future__ import annotations

import csv
import hashlib
import http.client
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

import fivefold
from fivefold.core.canonical import digest
from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.time import instant
from fivefold.demo.measure import serving
from fivefold.demo.quality import compared
from fivefold.federated.course.definition import declared
from fivefold.federated.privacy.ledger import ledger_of
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.materialise import materialise_views
from fivefold.workspace import Workspace, open_workspace
from fivefold.workspace.served import champion

MONTHS = (9, 10, 11)
LIAR = "VX"
DROPPED = ("HA", "AS")
DISTURBED_AFTER = 4
"""Rounds after which two airlines are killed, and the coordinator."""
LONGEST = 400.0
ASKED_AT = "2013-11-01T12:00:00Z"
PUBLIC = ("weather.csv", "planes.csv", "airports.csv")
Show = Callable[[str, int, int], None]


class Together(msgspec.Struct, frozen=True):
    """What came of it: AUC on the flights of November by how the model was made, and what it cost."""

    airlines: int
    flights: int
    tested: int
    auc: dict[str, float]
    told_auc: float
    rounds: int
    killed: int
    survivors: list[int]
    bytes_up: int
    bytes_down: int
    epsilon: float
    budget: float
    gates: list[dict[str, Any]]
    version: int
    champion: bool
    served: float
    same_bits: bool
    seconds: float
    inputs: str = ""
    """A digest of what it was made from."""


def train_airlines(folder: Path, data: Path, airlines: Sequence[str] | None, show: Show) -> Together:
    """Run it all below a folder, from the demo's data; `airlines` are all, unless given.

    Raises Unavailable, with what the coordinator said, when it takes longer than four minutes.
    """
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    own = flights_by_airline(data, airlines)
    for name, lines in {**own, "hub": [], "everything": [line for part in own.values() for line in part]}.items():
        make_project(folder / name, data, lines, min(12, len(own) - len(DROPPED)))
    with _hub(folder) as hub:
        events = _rounds(folder, hub, list(own), show)
    *rounds, ended = events
    with open_workspace(folder / "hub", actor="demo") as workspace:
        federation = declared(workspace, "carriers")
        assert federation.dp is not None
        spent = workspace.catalog.releases.of(ledger_of(federation))[-1].epsilon
        auc, tested, trained = compared(folder / "everything", workspace)
        answer, same = _answered(workspace)
    done = {event["round"]: event for event in rounds if event["status"] == "done"}
    info = ended["version"]["info"]
    return Together(
        airlines=len(own),
        flights=trained,
        tested=tested,
        auc=auc,
        told_auc=info["metrics"]["auc"]["value"],
        rounds=info["federation"]["rounds"],
        killed=1,
        survivors=info["federation"]["survivors"],
        bytes_up=sum(event["up"] for event in done.values()),
        bytes_down=sum(event["down"] for event in done.values()),
        epsilon=spent,
        budget=federation.dp.epsilon,
        gates=ended["verdict"]["decisions"],
        version=ended["version"]["number"],
        champion=ended["release"]["champion"],
        served=answer,
        same_bits=same,
        seconds=round(time.monotonic() - began, 1),
    )


def show_airlines(folder: Path) -> Together:
    """Train the airlines of a demo project together, print what came of it, and write airlines.json beside the report.

    Nothing is done when it was done before from the same. Raises what `train_airlines` raises.
    """
    inputs, found = _inputs(folder / "data"), folder / "airlines.json"
    if found.exists():
        known = msgspec.json.decode(found.read_bytes(), type=Together)
        if known.inputs == inputs:
            print(f"airlines: nothing new, {found} is of the same flights.")
            return known
    print("\nairlines train together: one process each, two drop out, one lies, the coordinator is killed once")
    said = [""]

    def show(what: str, done: int, total: int) -> None:
        if said[0] != what:
            said[0] = what
            print(f"  {what} ...", flush=True)

    trained = train_airlines(folder / "airlines", folder / "data", None, show)
    made = msgspec.structs.replace(trained, inputs=inputs)
    found.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1))
    for how, auc in made.auc.items():
        print(f"  auc {auc:.4f}  {how}")
    print(
        f"  {made.airlines} airlines, {made.flights:,} flights, {made.rounds} rounds of {min(made.survivors)} to "
        f"{max(made.survivors)} airlines; {made.bytes_up:,} bytes from each and {made.bytes_down:,} to it; epsilon "
        f"{made.epsilon:.3g} of {made.budget:g}"
    )
    for gate in made.gates:
        print(f"  {'passed' if gate['passed'] else 'FAILED'}: {gate['reason']}")
    bits = "the very bits" if made.same_bits else "NOT the bits"
    print(f"  late@{made.version} is served: {made.served:.4f}, {bits} that its package gives ({made.seconds:.0f} s)")
    return made


def _inputs(data: Path) -> str:
    files = [data / "flights" / f"2013-{month:02}.csv" for month in MONTHS] + [data / name for name in PUBLIC]
    template = resources.files("fivefold.demo") / "templates" / "airlines" / "project.py"
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return digest("airlines", {"project": template.read_text(), "data": digests, "fivefold": fivefold.__version__})


def flights_by_airline(data: Path, airlines: Sequence[str] | None) -> dict[str, list[str]]:
    """The lines of the last months' flights by airline; those without a flight before and one in the last month are
    left out, since they could neither learn nor be asked."""
    own: dict[str, list[str]] = {}
    months: dict[str, set[int]] = {}
    for month in MONTHS:
        lines = (data / "flights" / f"2013-{month:02}.csv").read_text().splitlines()
        place = next(csv.reader(lines[:1])).index("carrier")
        for line in lines[1:]:
            name = line.split(",")[place]
            if airlines is None or name in airlines:
                own.setdefault(name, []).append(line)
                months.setdefault(name, set()).add(month)
    return {name: own[name] for name in sorted(own) if {MONTHS[-1]} < months[name]}


def make_project(folder: Path, data: Path, lines: list[str], survivors: int) -> None:
    """A project of the template `airlines` with these flights, and what everybody knows."""
    with resources.as_file(resources.files("fivefold.demo") / "templates" / "airlines") as source:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    project = folder / "project.py"
    project.write_text(project.read_text().replace("min_survivors=12", f"min_survivors={survivors}"))
    (folder / "fivefold.toml").write_text('project = "airlines"\n')
    (folder / "data" / "flights").mkdir(parents=True)
    for name in PUBLIC:
        (folder / "data" / name).write_bytes((data / name).read_bytes())
    header = (data / "flights" / f"2013-{MONTHS[0]:02}.csv").read_text().split("\n", 1)[0]
    (folder / "data" / "flights" / "2013.csv").write_text("\n".join([header, *lines]) + "\n")


class _Hub:
    """The coordinator's process, and the airlines'."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "hub.log"
        self.airlines: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = ["0", "0"]

    def start(self, sites: int, gone: Sequence[str] = ()) -> None:
        words = ["server", "carriers", "--sites", str(sites), "--quorum", str(sites - len(gone)), "--seconds", "20"]
        words += ["--port", self.ports[0], "--enrol-port", self.ports[1], "--poll", "0.2", "--lease", "1", "--json"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fivefold.cli.main", "federate", *words, "--project", str(self.folder / "hub")],
                stdout=log,
                stderr=log,
            )
        said = r"on 127.0.0.1:(\d+), enrolment on 127.0.0.1:(\d+)"
        found = self.until(lambda: re.findall(said, self.log.read_text()))
        self.ports = list(found[-1])

    def until(self, what: Callable[[], Any]) -> Any:
        over = time.monotonic() + LONGEST
        while not (found := what()):
            if self.process.poll() not in (None, 0) or time.monotonic() > over:
                raise Unavailable(f"the coordinator came to nothing: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)
        return found

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@contextmanager
def _hub(folder: Path) -> Iterator[_Hub]:
    made = _Hub(folder)
    with open_workspace(folder / "hub", actor="demo") as workspace:
        apply(workspace, plans.check(workspace), plans.plan(workspace))
    try:
        yield made
    finally:
        for process in [made.process, *made.airlines.values()]:
            process.kill()
            process.wait()


def _rounds(folder: Path, hub: _Hub, names: list[str], show: Show) -> list[dict[str, Any]]:
    """Start everything, disturb it, and wait for the end; every event that the coordinator told, once each."""
    hub.start(len(names))
    with open_workspace(folder / "hub", actor="demo") as workspace:
        from fivefold.federated.rounds.serving import invite, open_authority

        authority = open_authority(workspace.catalog, workspace.state / "federation" / "authority")
        for i, name in enumerate(names):
            show("airlines come", i, len(names))
            made = invite(workspace.catalog, authority, name, server=f"localhost:{hub.ports[0]}",
                          enrol=f"localhost:{hub.ports[1]}", hours=1, actor="demo")  # fmt: skip
            words = [sys.executable, "-m", "fivefold.demo.airline", str(folder / name)]
            with (folder / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    [*words, *(["--lie"] if name == LIAR else [])], stdin=subprocess.PIPE, stdout=log, stderr=log
                )
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(made))
            process.stdin.close()
            hub.airlines[name] = process

    def seen(round: int) -> bool:
        told = [event["round"] for event in hub.events() if event["event"] == "round" and event["status"] == "done"]
        show("rounds", max(told, default=0), round)
        return max(told, default=0) >= round

    hub.until(lambda: seen(DISTURBED_AFTER))
    gone = [name for name in DROPPED if name in hub.airlines]
    for name in gone:
        hub.airlines[name].kill()
    # the round that is open now goes on where it was, and without them
    time.sleep(0.5)
    hub.process.kill()
    hub.process.wait()
    hub.start(len(names), gone)
    hub.until(lambda: hub.process.poll() == 0)
    events = {(event["event"], event.get("round")): event for event in hub.events()}
    if events and list(events)[-1][0] != "version":
        raise Invalid(f"the coordinator made no version: {hub.log.read_text()[-2000:]}")
    return list(events.values())


def _answered(workspace: Workspace) -> tuple[float, bool]:
    """What an ordinary endpoint answers with the version, and whether it is to the bit what the package says of the
    same values."""
    materialise_views(workspace, [], instant(ASKED_AT))
    served = champion(workspace, "late")
    asked = {"carrier": "UA", "origin": "JFK", "dep_delay": 21, "distance": 2475, "hour": 7, "seats": 178}
    with serving(workspace) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(
            "POST", f"/predict/late?at={ASKED_AT}", json.dumps(asked), {"content-type": "application/json"}
        )
        reply = json.loads(connection.getresponse().read())
        connection.close()
    answer = reply["rows"][0]
    known = {name: found["value"] for name, found in answer["features"].items()}
    values = [known[name] for name in served.loaded.encoding.names]
    return answer["prediction"], float(served.loaded.predict_row(values)[0]) == answer["prediction"]
