"""A site's own floors: what a manifest must keep before the site does anything for it. They lie in a local file."""

from __future__ import annotations

import tomllib

import msgspec

from fivefold.core.errors import Invalid
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds.manifest import MODES, PLAIN, SECURE, Manifest


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The floors of a site for one federation.

    `modes` it takes part in; at least `min_clients` in a round and `min_survivors` in a sum; the protocol must hold
    against `corrupt` per cent of clients that conspire with the server. `definitions` and `code` are the digests it
    runs itself (empty: any). `epsilon` is the most privacy that all rounds together may cost (then every manifest must
    say what they do). Vectors have at most `length` values and models `model_bytes`. `peers` are others' keys (hex) by
    name, if they were exchanged by other means: then nobody else may be in a sum, however the server certified them.
    """

    modes: tuple[str, ...] = (SECURE,)
    min_clients: int = 3
    min_survivors: int = 3
    corrupt: int = 20
    definitions: str = ""
    code: str = ""
    epsilon: float | None = None
    length: int = 1 << 28
    model_bytes: int = 4 << 30
    peers: dict[str, str] | None = None

    def __post_init__(self) -> None:
        unknown = set(self.modes) - set(MODES)
        if unknown or not self.modes:
            raise Invalid(f"modes: {sorted(unknown)} are not known (accepted: {', '.join(MODES)}).")
        if self.min_survivors < 2 or self.min_clients < self.min_survivors:
            raise Invalid(
                f"min_clients, min_survivors: {self.min_clients} and {self.min_survivors} are not accepted "
                "(at least 2 survivors, and no fewer clients)."
            )

    def require(self, manifest: Manifest) -> None:
        """Raises Refused, naming the field, when a manifest is below a floor."""
        if manifest.mode not in self.modes:
            _refuse("mode", manifest.mode, f"one of {', '.join(self.modes)}")
        if manifest.clients < self.min_clients:
            _refuse("clients", manifest.clients, f"at least {self.min_clients}")
        # where the server is trusted with every vector there is no sum to hide in
        if manifest.mode != PLAIN and manifest.min_survivors < self.min_survivors:
            _refuse("min_survivors", manifest.min_survivors, f"at least {self.min_survivors}")
        if manifest.corrupt < self.corrupt:
            _refuse("corrupt", manifest.corrupt, f"at least {self.corrupt} per cent")
        if not 1 <= manifest.length <= self.length:
            _refuse("length", manifest.length, f"up to {self.length}")
        if manifest.model.size > self.model_bytes:
            _refuse("model", f"{manifest.model.size} bytes", f"up to {self.model_bytes}")
        for field in ("definitions", "code"):
            mine = getattr(self, field)
            if mine and getattr(manifest, field) != mine:
                _refuse(field, getattr(manifest, field), mine)
        if self.epsilon is not None and (manifest.epsilon is None or manifest.epsilon > self.epsilon):
            _refuse("epsilon", manifest.epsilon, f"up to {self.epsilon}")


def read_policy(text: str, task: str) -> Policy:
    """The floors for a federation in a policy file: its own table, else `[default]`, else what is safe.

    Raises Invalid, naming the field.
    """
    try:
        tables = tomllib.loads(text)
        found = tables.get(task, tables.get("default", {}))
        return msgspec.convert(found, Policy)
    except tomllib.TOMLDecodeError as wrong:
        raise Invalid(f"the policy is not TOML: {wrong}.") from None
    except msgspec.ValidationError as wrong:
        raise Invalid(
            f"the policy for {task!r} is not accepted: {wrong}.", hint=f"Fields: {', '.join(Policy.__struct_fields__)}."
        ) from None


def _refuse(field: str, given: object, accepted: str) -> None:
    raise Refused(
        f"the manifest has {field} {given!r} (the policy here accepts {accepted}).",
        hint="Ask the operator, or change the policy file if you agree.",
    )
