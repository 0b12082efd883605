"""What the first hour costs: importing, asking for help, planning, and the whole demo, in fresh processes.

    python benchmarks/first_hour/run.py            # writes benchmarks/results/first_hour.json

The limit beside each start is the bare interpreter doing nothing. Medians of several processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
STARTS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import fivefold": [sys.executable, "-c", "import fivefold"],
    "fivefold --help": [sys.executable, "-m", "fivefold.cli.main", "--help"],
}


def seconds(command: list[str], cwd: Path | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=9)
    rounds = options.parse_args().rounds
    load = os.getloadavg()
    took: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(rounds):
        for name, command in STARTS.items():
            took[name].append(seconds(command))
    starts = {name: round(statistics.median(times), 3) for name, times in took.items()}
    own = [a - b for a, b in zip(took["import fivefold"], took["python -c pass"], strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "fivefold.cli.main", "demo", "demo"]
        demo = seconds(run, Path(folder))
        again = seconds(run, Path(folder))
        plan = seconds([sys.executable, "-m", "fivefold.cli.main", "plan"], Path(folder) / "demo")
        report = json.loads((Path(folder) / "demo" / "report.json").read_text())
    out = {
        "command": "python benchmarks/first_hour/run.py", "python": platform.python_version(), "cpus": os.cpu_count(),
        "load_average_before": load, "rounds": rounds, "starts_s": starts,
        "import_beyond_the_interpreter_s": round(statistics.median(own), 3),
        "demo_s": round(demo, 1), "demo_again_s": round(again, 1), "plan_s": round(plan, 2),
        "stages_s": {s["name"]: s["seconds"] for s in report["stages"]},
        "served_p50_ms": report["serving"]["p50_ms"], "served_p99_ms": report["serving"]["p99_ms"],
        "scored_rows_per_second": report["scoring"]["rows_per_second"],
    }
    (HERE / "results" / "first_hour.json").write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
