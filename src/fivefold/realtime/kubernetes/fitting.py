"""Whether an environment can be served by several machines at once, and what of it must not stand in a manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fivefold.core.config import Environment, Settings
from fivefold.core.errors import FivefoldError, Invalid, Several
from fivefold.core.project import Project
from fivefold.core.sources import Stream

SECRET = "env:"
_SECRET_KEYS = re.compile(r"secret|passw|token|private|credential", re.IGNORECASE)
_OF_ONE_MACHINE = {
    "catalog": (("sqlite",), "postgresql://USER@HOST/DATABASE"),
    "artifacts": (("files", "memory"), "s3://BUCKET/PREFIX"),
    "online": (("lmdb", "memory"), "redis://HOST:6379/0 or postgresql://USER@HOST/DATABASE"),
    "stream": (("log", "memory"), "kafka://HOST:9092, redis://HOST:6379/0 or pubsub://PROJECT"),
}
_EXTRAS = {
    "postgresql": "postgres",
    "s3": "s3",
    "redis": "redis",
    "rediss": "redis",
    "kafka": "kafka",
    "pubsub": "pubsub",
}


def secrets_of(given: Settings, env: str) -> tuple[str, ...]:
    """The environment variables that an environment's settings name, in order."""
    merged = {**given.default, **given.env.get(env, {})}
    return tuple(sorted({text[len(SECRET) :] for _, text in _texts(merged) if text.startswith(SECRET)}))


def require_no_secrets(given: Settings) -> None:
    """Raise Invalid for passwords in fivefold.toml, of any environment: all of it goes into a ConfigMap."""
    for where, text in _texts({"default": given.default, "env": given.env}):
        key = where.rpartition(".")[2]
        if text.startswith(SECRET) or not text:
            continue
        if _SECRET_KEYS.search(key) or _has_password(text):
            raise Invalid(
                f"fivefold.toml holds a secret in {where}: it would stand in a ConfigMap, for all to read.",
                hint=f'Write {key} = "env:NAME"; the manifests take NAME from a Secret.',
            )


def require_several_machines(env: Environment, project: Project) -> None:
    """Raise Invalid, or Several, for each store of the environment that only one machine can reach.

    A URL that a Secret holds is not known here, and passes.
    """
    streams = [s for s in project.of(Stream.kind) if isinstance(s, Stream)]
    places = {what: getattr(env, what) for what in ("catalog", "artifacts", "online")}
    places |= {f"streams.{s.name}": env.streams.get(s.name, env.stream) for s in streams}
    errors: list[FivefoldError] = []
    for what, url in places.items():
        schemes, instead = _OF_ONE_MACHINE["stream" if what.startswith("streams.") else what]
        scheme = url.partition(":")[0] if ":" in url else "files"
        if scheme in schemes:
            setting = "stream" if what.startswith("streams.") and what[8:] not in env.streams else what
            errors.append(
                Invalid(
                    f"environment {env.name!r} cannot be served by several machines: {what} is {url}, "
                    "which each of them would have for itself.",
                    hint=f"Write {setting} = {instead!r} below [env.{env.name}] in fivefold.toml.",
                )
            )
    if not env.hosts:
        errors.append(
            Invalid(
                f"environment {env.name!r} says no hosts: pods listen on all addresses and must know their names.",
                hint='Write hosts = ["models.example.com", "SERVICE.NAMESPACE.svc"]; hosts = ["*"] answers to any.',
            )
        )
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise Several(errors)


def extras_of(env: Environment, project: Project) -> tuple[str, ...]:
    """The extras of our package that the stores of an environment, and the learners of the project, need."""
    urls = [env.catalog, env.artifacts, env.online, env.stream, *env.streams.values()]
    found = {_EXTRAS[u.partition(":")[0]] for u in urls if u.partition(":")[0] in _EXTRAS}
    for model in project.of("model"):
        name = getattr(getattr(model, "learner", None), "name", "")
        found |= {e for e in ("lightgbm", "xgboost", "sklearn", "torch") if name.startswith(e)}
    return tuple(sorted(found))


def unknown_places(env: Environment) -> list[str]:
    """The stores whose URLs a Secret holds, so that nothing could be said of them."""
    return [what for what in ("catalog", "artifacts", "online", "stream") if getattr(env, what).startswith(SECRET)]


def _has_password(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.password) or any(_SECRET_KEYS.search(key) for key in parse_qs(parts.query))
    except ValueError:
        return "@" in text


def _texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{where}.{key}" if where else str(key))
