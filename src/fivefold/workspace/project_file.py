"""Finding and importing a project file."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path

from fivefold.core.code import PROJECT_MODULE
from fivefold.core.config import Settings, settings
from fivefold.core.errors import FivefoldError, Invalid, NotFound
from fivefold.core.noun import Noun
from fivefold.core.project import Project, collect


def find_root(start: Path) -> Path:
    """The nearest folder from `start` upwards with a fivefold.toml. Raises NotFound."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "fivefold.toml").is_file():
            return folder
    raise NotFound(
        f"no fivefold.toml in {start.resolve()} or above it.",
        hint="Run `fivefold init DIR` to make a project, or pass --project DIR.",
    )


def read_settings(root: Path) -> Settings:
    """What a project's fivefold.toml says."""
    path = root / "fivefold.toml"
    return settings(path.read_text(), str(path))


def load_project(root: Path, given: Settings) -> Project:
    """Import the project file and collect what it declares.

    Raises NotFound when there is no file, Invalid with the file's own line when importing it fails, Several with every
    clash of names, unknown table and cycle.
    """
    path = root / given.file
    if not path.is_file():
        raise NotFound(f"the project file {path} does not exist.", hint="fivefold.toml names it under file=.")
    # a name of its own for every project folder, so that two can be open in one process
    name = PROJECT_MODULE + hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(module)
    except FivefoldError as e:
        raise Invalid(f"{path.name}, line {_line(e, path)}: {e.message}", hint=e.hint) from e
    except SyntaxError as e:
        raise Invalid(f"{path.name}, line {e.lineno}: {e.msg}.") from e
    except Exception as e:  # a project file is the user's own code: whatever it raises is an error of that file
        raise Invalid(f"{path.name}, line {_line(e, path)}: {type(e).__name__}: {e}.") from e
    finally:
        sys.path.remove(str(root))
    return collect(given.project, [v for v in vars(module).values() if isinstance(v, Noun)])


def _line(error: BaseException, path: Path) -> int | str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    return lines[-1] if lines and lines[-1] is not None else "?"
