"""Which commit a project's folder is at."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SECONDS = 10


def commit_of(root: Path) -> str:
    """The git commit that is checked out, with `-dirty` where files were changed since; empty where there is none."""
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
