"""One environment of a project: which stores it uses. `fivefold.toml` says so; nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fivefold.core.errors import Invalid, NotFound, did_you_mean
from fivefold.core.time import duration


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is let in: with `required`, nobody without credentials, on this machine either."""

    required: bool = False


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an environment keeps things. Relative paths are below the project's folder.

    `catalog` is an SQLAlchemy URL (`sqlite:///…` or `postgresql://…`), `artifacts` and `online` are store URLs,
    `stream` the URL of the broker on which each stream has a topic of its name, `state` the folder for tables and
    logs. `streams` and `tables` put another URL in the place of one stream's or table's. `options` are given to the
    stores of a scheme, for instance `{"s3": {"endpoint": …}}`. Dead letters of streams are kept for `dead_letters`
    after they came; for ever, where it is empty. `request_rate` bounds how often each caller asks for predictions
    (`100/s`, `600/m`, `100/s+20` with bursts of 20; empty: not at all); a caller is known by its user or token, else
    by the header `request_key`, or by its address. `lookups_logged` is the share (0 to 1) of requests to the feature
    service that are logged, for `fivefold skew`. Logged predictions are kept for `predictions_kept` (for ever, where
    it is empty), and no more than the newest `predictions_bytes` of them; logged look-ups too. A server answers to the
    Host names of `hosts` beside its own address and this machine's (`*`: to any), and to the web pages of `origins`
    (`https://app.example.com`).
    """

    name: str = "dev"
    state: str = ".fivefold"
    catalog: str = ""
    artifacts: str = ""
    online: str = ""
    stream: str = ""
    memory: str = "2GB"
    threads: int = 2
    dead_letters: str = "30d"
    lookups_logged: float = 0.0
    request_rate: str = ""
    request_key: str = "x-api-key"
    predictions_kept: str = "30d"
    predictions_bytes: int = 10_000_000_000
    auth: Auth = Auth()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    tables: Mapping[str, str] = {}
    streams: Mapping[str, str] = {}
    options: Mapping[str, Mapping[str, str]] = {}

    @property
    def letters_for(self) -> int | None:
        """How long (µs) after their arrival dead letters are kept, None for ever."""
        return duration(self.dead_letters) if self.dead_letters else None

    @property
    def predictions_for(self) -> int | None:
        """How long (µs) logged predictions are kept, None for ever."""
        return duration(self.predictions_kept) if self.predictions_kept else None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `fivefold.toml` holds: the project's name, what all environments share, and what each changes."""

    project: str = "project"
    file: str = "project.py"
    default: Mapping[str, Any] = {}
    env: Mapping[str, Mapping[str, Any]] = {}


def settings(text: str, where: str = "fivefold.toml") -> Settings:
    """Read a configuration. Raises Invalid, naming the field and what is accepted."""
    import tomllib

    try:
        return msgspec.convert(tomllib.loads(text), Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as e:
        raise Invalid(f"{where}: {e}.", hint="Accepted are project, file, [default] and [env.NAME].") from None


def environment(given: Settings, name: str, secrets: Mapping[str, str], where: str = "fivefold.toml") -> Environment:
    """The environment of a name, with defaults filled in and `env:NAME` values replaced from `secrets`.

    Raises NotFound for an unknown environment or a missing secret, Invalid for an unknown setting.
    """
    have = {"dev", *given.env}
    if name not in have:
        raise NotFound.named("environment", name, have)
    merged = {**given.default, **given.env.get(name, {}), "name": name}
    fields = Environment.__struct_fields__
    for key in merged:
        if key not in fields:
            raise Invalid(
                f"{where}: no setting {key!r} for environment {name!r} (have: {', '.join(fields)}).",
                hint=did_you_mean(key, fields),
            )
    try:
        env = msgspec.convert(_revealed(merged, secrets), Environment)
    except msgspec.ValidationError as e:
        raise Invalid(f"{where}: environment {name!r}: {e}.") from None
    if not 0 <= env.lookups_logged <= 1:
        raise Invalid(f"{where}: environment {name!r}: lookups_logged={env.lookups_logged} (accepted: 0 to 1).")
    _check_origins(env, where)
    if env.dead_letters:
        duration(env.dead_letters, f"{where}: environment {name!r}, dead_letters")
    if env.predictions_kept:
        duration(env.predictions_kept, f"{where}: environment {name!r}, predictions_kept")
    if env.predictions_bytes < 1:
        raise Invalid(
            f"{where}: environment {name!r}: predictions_bytes={env.predictions_bytes} (accepted: 1 or more)."
        )
    # environments share nothing: each but dev has a folder of its own unless told otherwise
    state = env.state if "state" in merged or name == "dev" else f".fivefold/env-{name}"
    return msgspec.structs.replace(
        env,
        state=state,
        catalog=env.catalog or f"sqlite:///{state}/catalog.db",
        artifacts=env.artifacts or f"files:{state}/artifacts",
        online=env.online or f"lmdb:{state}/online",
        stream=env.stream or f"log:{state}/streams",
    )


def _check_origins(env: Environment, where: str) -> None:
    for origin in env.origins:
        scheme, there, host = origin.partition("://")
        if scheme not in ("http", "https") or not there or not host or set(host) & set("/?#*@ "):
            raise Invalid(
                f"{where}: environment {env.name!r}: origins: {origin!r} (accepted: https://HOST or https://HOST:PORT).",
                hint="Name each one, without a path and without *.",
            )


def _revealed(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith("env:"):
        if value[4:] not in secrets:
            raise NotFound(
                f"the environment variable {value[4:]!r} is not set.",
                hint="fivefold.toml refers to it; set it before running.",
            )
        return secrets[value[4:]]
    if isinstance(value, Mapping):
        return {k: _revealed(v, secrets) for k, v in value.items()}
    return value
