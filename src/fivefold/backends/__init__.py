"""Adapters: one folder a technology, one file a port, found by the scheme of a URL.

A folder's `__init__` is light: it says which `schemes` it answers, and which `extra` installs its library. The file of
a port has the port's own name (`files/artifacts.py` for `ports/artifacts.py`) and says `provides = {Port: Class}`; the
class is called with the URL as it was written, and the options. Packages outside name a folder of this shape as an
entry point in the group `fivefold.backends`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

from fivefold.backends.url import scheme_of
from fivefold.core.errors import NotFound, did_you_mean, missing_extra

__all__ = ["backends_of", "connect"]

P = TypeVar("P")


def connect(port: Callable[..., P], url: str, **options: Any) -> P:
    """The backend of `port` for the scheme of `url`, opened with the options.

    Raises NotFound when there is none, Invalid when the URL has no scheme, Unsupported when its library is not
    installed.
    """
    # Callable and not type[P] above: a protocol is no concrete class, yet what comes back is of its type
    wanted: Any = port
    scheme = scheme_of(url)
    for name, package in _folders():
        if _answers(name, package, scheme) and _file_of(wanted, package):
            opened: P = _load(wanted, name, package)(url, **options)
            return opened
    have = backends_of(wanted)
    raise NotFound(
        f"no backend {scheme!r} for {wanted.__name__} (have: {', '.join(have) or 'none'}).",
        hint=did_you_mean(scheme, have),
    )


def backends_of(port: type) -> tuple[str, ...]:
    """The names of the backends that have a file for `port`, without importing those files."""
    return tuple(sorted(name for name, package in _folders() if _file_of(port, package)))


def _folders() -> Iterator[tuple[str, str]]:
    """Name and package of each backend: ours first, then those of other packages."""
    for found in pkgutil.iter_modules(__path__):
        if found.ispkg:
            yield found.name, f"{__name__}.{found.name}"
    for point in entry_points(group="fivefold.backends"):
        yield point.name, point.value


def _answers(name: str, package: str, scheme: str) -> bool:
    return scheme == name or scheme in getattr(importlib.import_module(package), "schemes", ())


def _file_of(port: type, package: str) -> str | None:
    module = f"{package}.{port.__module__.rpartition('.')[2]}"
    return module if find_spec(module) else None


def _load(port: Any, name: str, package: str) -> Any:
    try:
        module: ModuleType = importlib.import_module(_file_of(port, package) or package)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] in ("fivefold", package.partition(".")[0]):
            raise
        extra = getattr(importlib.import_module(package), "extra", name)
        raise missing_extra(missing.name, extra, f"the backend {name!r}") from missing
    return module.provides[port]
