"""What all declarations share: a name, a kind, a canonical form, a digest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from fivefold.core.canonical import Json, digest
from fivefold.core.code import canonical_object
from fivefold.core.errors import Invalid

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Noun(msgspec.Struct, frozen=True, eq=False):
    """A named declaration. It holds data only: creating one reads nothing and writes nothing."""

    kind: ClassVar[str]
    later: ClassVar[tuple[str, ...]] = ()
    """Fields that a declaration had not before: with their default they are no part of it, so that digests stay."""
    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise Invalid(
                f"{type(self).__name__}: {self.name!r} is not a name.",
                hint="Use lower case letters, digits and underscores, a letter first, 63 characters at most.",
            )

    @property
    def ref(self) -> str:
        """How other declarations and the command line point at this one: `kind:name`."""
        return f"{self.kind}:{self.name}"


def define(field: msgspec.Struct, **values: Any) -> None:
    """Set fields of a frozen struct from its own `__post_init__`, where spellings become canonical."""
    for name, value in values.items():
        msgspec.structs.force_setattr(field, name, value)


def definition(noun: Noun) -> dict[str, Json]:
    """The canonical JSON of a declaration: every field written out, other nouns as `{"ref": "kind:name"}`."""
    written = [
        f for f in msgspec.structs.fields(noun) if f.name not in noun.later or getattr(noun, f.name) != f.default
    ]
    return {"kind": noun.kind, **{f.name: _plain(getattr(noun, f.name)) for f in written}}


def noun_digest(noun: Noun) -> str:
    """Identity of the declaration alone; what it refers to counts by name only (see `Project.closure_digest`)."""
    return digest("noun", definition(noun))


def references(value: object) -> Iterator[Noun]:
    """Every noun that a declaration points at, directly."""
    if isinstance(value, Noun):
        for f in msgspec.structs.fields(value):
            yield from _nouns_in(getattr(value, f.name))


def _nouns_in(value: object) -> Iterator[Noun]:
    if isinstance(value, Noun):
        yield value
    elif isinstance(value, msgspec.Struct):
        for f in msgspec.structs.fields(value):
            yield from _nouns_in(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _nouns_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _nouns_in(item)


def _plain(value: object) -> Json:
    match value:
        case Noun():
            return {"ref": value.ref}
        case msgspec.Struct():
            tag = type(value).__name__
            return {"is": tag, **{f.name: _plain(getattr(value, f.name)) for f in msgspec.structs.fields(value)}}
        case None | bool() | float() | str():
            return value
        case int():
            return value
        case Mapping():
            return {str(k): _plain(v) for k, v in value.items()}
        case tuple() | list():
            return [_plain(v) for v in value]
    return canonical_object(value)
