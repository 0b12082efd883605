"""A new project from a template."""

from __future__ import annotations

import re
import shutil
from importlib import resources
from pathlib import Path

from fivefold.core.errors import Conflict, NotFound

TEMPLATES = {"blank": "returned", "flights": "late"}
"""Every template, and the model to train first."""


def start(folder: Path, template: str) -> str:
    """Make a project in a folder that is new or empty; returns the model to train first.

    Raises NotFound for an unknown template, Conflict when the folder holds something.
    """
    if template not in TEMPLATES:
        raise NotFound.named("template", template, TEMPLATES)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is there and not empty.", hint="Name a new folder; nothing was changed.")
    with resources.as_file(resources.files("fivefold.demo") / "templates" / template) as source:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    settings = folder / "fivefold.toml"
    name = re.sub(r"[^a-z0-9_]", "_", folder.resolve().name.lower())
    settings.write_text(settings.read_text().replace("PROJECT", name if name[:1].isalpha() else f"p_{name}"))
    (folder / ".gitignore").write_text(".fivefold/\nout/\n")
    if template == "flights":
        from fivefold.demo.flights import write_data

        write_data(folder / "data")
    return TEMPLATES[template]
