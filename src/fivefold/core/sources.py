"""Where data comes from: tables, streams, documents, views over them, and the checks they carry."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from fivefold.core.errors import Invalid, NotFound, did_you_mean
from fivefold.core.noun import Noun, define
from fivefold.core.time import DAY, duration
from fivefold.core.types import Type, as_type


class OnFail(enum.StrEnum):
    """What happens to data that breaks a check."""

    FAIL = "fail"  # nothing of the partition is taken
    QUARANTINE = "quarantine"  # the row is set aside with its reason, the rest is taken
    WARN = "warn"  # the row is taken, the breach is counted and shown


class Check(msgspec.Struct, frozen=True):
    """An expectation on a source.

    `rule` is one of `row` (an SQL expression that must not be false on any row; null passes, as in SQL's CHECK),
    `typed`, `unique`, `nulls`, `rows` and `fresh`; the last three speak of a partition as a whole and cannot
    quarantine.
    """

    rule: str
    expression: str | None = None
    columns: Sequence[str] = ()
    at_least: float | None = None
    at_most: float | None = None
    on_fail: str = OnFail.FAIL
    name: str = ""

    def __post_init__(self) -> None:
        try:
            define(self, on_fail=OnFail(self.on_fail), columns=_names(self.columns))
        except ValueError:
            raise Invalid(
                f"check {self.name or self.expression!r}: on_fail={self.on_fail!r} is not known "
                f"(accepted: {', '.join(OnFail)}).",
                hint=did_you_mean(str(self.on_fail), [str(o) for o in OnFail]),
            ) from None
        if self.rule == "typed" and self.on_fail == OnFail.WARN:
            raise Invalid(
                "check 'types': a value of the wrong type cannot be kept.", hint="Use 'fail' or 'quarantine'."
            )
        if self.rule in ("nulls", "rows", "fresh") and self.on_fail is OnFail.QUARANTINE:
            raise Invalid(
                f"check {self.name!r}: {self.rule} speaks of the whole partition, so no single row can be quarantined.",
                hint="Use on_fail='fail' or on_fail='warn'.",
            )
        if not self.name:
            define(self, name=self.expression or self.rule)


def check(expression: str, *, on_fail: str = "fail", name: str = "") -> Check:
    """Every row must satisfy an SQL expression (false breaks it, null passes): `check("distance > 0")`."""
    return Check("row", expression=expression, on_fail=on_fail, name=name)


def between(column: str, low: float, high: float, *, on_fail: str = "fail") -> Check:
    """A number lies in `[low, high]`."""
    return Check("row", f"{column} between {low!r} and {high!r}", (column,), on_fail=on_fail)


def one_of(column: str, values: Iterable[object], *, on_fail: str = "fail") -> Check:
    """A value is one of a set."""
    listed = ", ".join(_literal(v) for v in values)
    return Check("row", f"{column} in ({listed})", (column,), on_fail=on_fail)


def typed(*, on_fail: str = "quarantine") -> Check:
    """What to do with a row whose value does not fit its column's type; without this check the partition fails."""
    return Check("typed", on_fail=on_fail, name="types")


def matches(column: str, pattern: str, *, on_fail: str = "fail") -> Check:
    """A text contains a match of a regular expression (anchor it with ^ and $)."""
    return Check("row", f"regexp_matches({column}, {_literal(pattern)})", (column,), on_fail=on_fail)


def not_null(column: str, *, at_most: float = 0.0, on_fail: str = "fail") -> Check:
    """A column has no nulls, or at most the share `at_most` of them in a partition."""
    if at_most > 0:
        return Check(
            "nulls", columns=(column,), at_most=at_most, on_fail=on_fail, name=f"nulls of {column} at most {at_most:g}"
        )
    return Check("row", f"{column} is not null", (column,), on_fail=on_fail)


def unique(*columns: str, on_fail: str = "fail") -> Check:
    """No two rows of the source share these values; `quarantine` keeps the first in source order."""
    return Check("unique", columns=columns, on_fail=on_fail, name=f"unique({', '.join(columns)})")


def row_count(at_least: int = 1, at_most: int | None = None, *, on_fail: str = "fail") -> Check:
    """A partition has this many rows."""
    return Check("rows", at_least=at_least, at_most=at_most, on_fail=on_fail, name="row count")


def fresh(within: str, *, on_fail: str = "fail") -> Check:
    """The newest event time of the source is at most this old when it is read."""
    return Check("fresh", at_most=duration(within, "fresh") / 1e6, on_fail=on_fail, name=f"fresh within {within}")


class Table(Noun, frozen=True, eq=False):
    """Rows in files, a lake or a database: `Table("raw", "data/*.parquet")`, `Table("t", "postgresql://host/db?table=t")`.

    `time` is the event time, `id` marks duplicates, `seq` breaks ties, `delay` is how long after its event time a row
    can be known. `schema` fixes the types of the columns it names; others are read from the data once, and kept.
    `nulls` are the texts that mean null in CSV. `partition` names the columns by which a written table is split into
    folders.
    """

    kind: ClassVar[str] = "table"
    url: str
    time: str | None = None
    id: str | None = None
    seq: str | None = None
    delay: str = "0s"
    schema: Mapping[str, Any] | None = None
    checks: Sequence[Check] = ()
    format: str | None = None
    nulls: Sequence[str] = ("",)
    partition: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        define(
            self,
            checks=_checks(self),
            partition=_names(self.partition),
            nulls=_names(self.nulls),
            schema=_schema(self, self.schema),
            delay=_delay(self),
        )


class View(Noun, frozen=True, eq=False):
    """A table derived by SQL from tables and other views: cleaning, typing, joining, local clock times to UTC.

    When the SQL treats each row of its first table alone, the view is derived again only for new partitions of it.
    """

    kind: ClassVar[str] = "view"
    sql: str
    time: str | None = None
    id: str | None = None
    seq: str | None = None
    delay: str = "0s"
    checks: Sequence[Check] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        define(self, checks=_checks(self), delay=_delay(self), sql=self.sql.strip())


class Stream(Noun, frozen=True, eq=False):
    """Events as they happen. `history` is the table or view that holds its past, and into which they are archived.

    `schema` may leave out `time`, which is a timestamp. Events come as `format` (json, msgpack, avro), those of equal
    values in the columns `key` in order. An event may come up to `lateness` after younger ones, later ones are set
    aside as dead letters. `id` marks duplicates, for about a day or the lateness: see `id_stretch`. Where the events
    are is the environment's matter: see `stream` in fivefold.toml.
    """

    kind: ClassVar[str] = "stream"
    schema: Mapping[str, Any]
    time: str
    id: str | None = None
    seq: str | None = None
    history: Table | View | None = None
    delay: str = "0s"
    checks: Sequence[Check] = ()
    lateness: str = "1h"
    key: Sequence[str] = ()
    format: str = "json"

    def __post_init__(self) -> None:
        super().__post_init__()
        schema = {self.time: Type.TIMESTAMP, **(_schema(self, self.schema) or {})}
        define(self, checks=_checks(self), schema=schema, delay=_delay(self), key=_names(self.key))
        if self.lateness != "0s":
            duration(self.lateness, f"{self.ref}, lateness")
        if self.format not in PAYLOADS:
            raise Invalid(
                f"{self.ref}: format={self.format!r} is not known (accepted: {', '.join(PAYLOADS)}).",
                hint=did_you_mean(self.format, PAYLOADS),
            )
        for column in self.key:
            if column not in schema:
                raise NotFound.named(f"column of {self.ref} for key=", column, schema)
        if self.id is not None and schema.get(self.id) is Type.FLOAT64:
            raise Invalid(f"{self.ref}: id={self.id!r} is float64 (accepted: int64, string, bool, timestamp).")


class Documents(Noun, frozen=True, eq=False):
    """Files that a knowledge base is made of: `Documents("handbook", "docs/**/*.md")`."""

    kind: ClassVar[str] = "documents"
    url: str


Source = Table | View | Stream

PAYLOADS = ("json", "msgpack", "avro", "avro-confluent")
"""How events can be written."""


def rows_of(source: Source) -> Table | View:
    """The table or view that holds a source's past.

    Raises Invalid for a stream without `history`.
    """
    if not isinstance(source, Stream):
        return source
    if source.history is None:
        raise Invalid(
            f"{source.ref} has no history, so its past cannot be read.",
            hint="Declare history= with the table its events are archived into.",
        )
    return source.history


def lateness_of(stream: Stream) -> int:
    """How long (µs) after younger events one may still come."""
    return 0 if stream.lateness == "0s" else duration(stream.lateness)


def id_stretch(stream: Stream) -> int:
    """How long (µs) the stretches of time are in which a stream knows an id again: a day, or the lateness.

    Two events of one id are the same when their stretches (time // id_stretch) are equal or next to each other.
    """
    return max(lateness_of(stream), DAY)


def _schema(noun: Noun, given: Mapping[str, Any] | None) -> Mapping[str, Type] | None:
    if given is None:
        return None
    return {column: as_type(kind, f"{noun.ref}, column {column!r}") for column, kind in given.items()}


def _checks(noun: Table | View | Stream) -> tuple[Check, ...]:
    for item in noun.checks:
        if not isinstance(item, Check):
            raise Invalid(f"{noun.ref}: {item!r} is not a check.", hint='Write ff.check("distance > 0").')
    return tuple(noun.checks)


def _delay(noun: Table | View | Stream) -> str:
    if noun.delay != "0s":
        duration(noun.delay, f"{noun.ref}, delay")
    return noun.delay


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _literal(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
