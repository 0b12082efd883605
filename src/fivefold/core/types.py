"""The five column types, and how Python values, SQL and users name them."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping

from fivefold.core.errors import Invalid, did_you_mean


class Type(enum.StrEnum):
    """A column type. Every type is nullable; a timestamp is int64 microseconds since 1970 in UTC."""

    INT64 = "int64"
    FLOAT64 = "float64"
    BOOL = "bool"
    STRING = "string"
    TIMESTAMP = "timestamp"

    @property
    def numeric(self) -> bool:
        return self in (Type.INT64, Type.FLOAT64)


Schema = Mapping[str, Type]

_PYTHON: dict[type, Type] = {
    int: Type.INT64,
    float: Type.FLOAT64,
    bool: Type.BOOL,
    str: Type.STRING,
    datetime.datetime: Type.TIMESTAMP,
}
_WORDS = {
    "int": Type.INT64,
    "integer": Type.INT64,
    "float": Type.FLOAT64,
    "double": Type.FLOAT64,
    "boolean": Type.BOOL,
    "str": Type.STRING,
    "text": Type.STRING,
    "datetime": Type.TIMESTAMP,
}
_DUCKDB = {
    Type.INT64: "BIGINT",
    Type.FLOAT64: "DOUBLE",
    Type.BOOL: "BOOLEAN",
    Type.STRING: "VARCHAR",
    Type.TIMESTAMP: "TIMESTAMP",
}


def as_type(given: object, where: str = "type") -> Type:
    """The `Type` a user means by `int`, `"int64"`, `datetime.datetime` …

    Raises Invalid, naming `where`, for anything else.
    """
    if isinstance(given, Type):
        return given
    if isinstance(given, type) and given in _PYTHON:
        return _PYTHON[given]
    if isinstance(given, str):
        word = given.lower()
        if word in _WORDS:
            return _WORDS[word]
        if word in Type.__members__.values():
            return Type(word)
    accepted = [t.value for t in Type]
    raise Invalid(
        f"{where}: {given!r} is not a type (accepted: {', '.join(accepted)}, or int, float, bool, str, datetime).",
        hint=did_you_mean(str(given), accepted),
    )


def duckdb_name(kind: Type) -> str:
    """The DuckDB SQL name of a type."""
    return _DUCKDB[kind]


_DUCKDB_INTEGERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
}


def of_duckdb(name: str) -> Type | None:
    """The type that holds values of a DuckDB type, if one does; integers may turn out too large for it."""
    if name in _DUCKDB_INTEGERS:
        return Type.INT64
    if name in ("FLOAT", "DOUBLE") or name.startswith("DECIMAL"):
        return Type.FLOAT64
    if name == "BOOLEAN":
        return Type.BOOL
    if name in ("VARCHAR", "UUID") or name.startswith("ENUM"):
        return Type.STRING
    return Type.TIMESTAMP if name.startswith("TIMESTAMP") or name == "DATE" else None
