"""Every command and every program of docs/serving.md runs as it stands, but for the ports; and its tables are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", DOCS, re.S)
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCS, re.S)


def here(text: str, server: Any) -> str:
    return text.replace("localhost:8000", f"localhost:{server.port}").replace("localhost:8001", server.grpc)


@pytest.mark.parametrize("commands", COMMANDS)
def test_every_command_runs(server: Any, commands: str) -> None:
    setting = ('set -euo pipefail\ncurl() { command curl --fail-with-body "$@"; echo; }\n'
               f'fivefold() {{ {sys.executable} -m fivefold.cli.main "$@"; }}\n')
    done = subprocess.run(["bash", "-c", setting + here(commands, server)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_runs(server: Any, program: str) -> None:
    done = subprocess.run([sys.executable, "-c", here(program, server)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\[0\.\d+ 0\.\d+\]\n", done.stdout)


def test_there_is_a_command_for_every_protocol() -> None:
    for path in ("/predict/", "/v2/models/", "/v1/models/", "/invocations", "text/event-stream", "conformance"):
        assert any(path in c for c in COMMANDS)
    assert PROGRAMS
