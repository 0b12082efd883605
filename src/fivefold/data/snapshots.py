"""What a source held at a moment: an immutable list of Parquet parts, named by their content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fivefold.core.canonical import digest
from fivefold.core.types import Schema, Type


class ColumnProfile(msgspec.Struct, frozen=True):
    """What was seen of a column: nulls, extremes as text, the largest magnitude of a number, a count of distinct."""

    nulls: int = 0
    least: str | None = None
    greatest: str | None = None
    magnitude: float | None = None
    distinct: int = 0


class Part(msgspec.Struct, frozen=True):
    """One partition as taken in: `fingerprint` says from what and under which definition, `digest` what came out."""

    name: str
    fingerprint: str
    digest: str
    rows: int
    bytes: int = 0
    quarantined: int = 0
    quarantine: str | None = None
    warnings: Mapping[str, int] = {}
    profile: Mapping[str, ColumnProfile] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """All parts of a source. Two snapshots with the same digest hold the same rows in the same order."""

    source: str
    schema: Mapping[str, Type]
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        return digest(
            "snapshot",
            {"schema": {c: k.value for c, k in self.schema.items()}, "parts": [p.digest for p in self.parts]},
        )

    @property
    def rows(self) -> int:
        return sum(p.rows for p in self.parts)

    @property
    def quarantined(self) -> int:
        return sum(p.quarantined for p in self.parts)

    def files(self, tables: Path) -> list[Path]:
        """The parts' files below a workspace's folder of tables."""
        return [part_file(tables, self.source, p.digest) for p in self.parts]

    def magnitude(self, column: str) -> float:
        """The largest absolute value of a numeric column, 0.0 when there is none."""
        return max((p.profile[column].magnitude or 0.0 for p in self.parts if column in p.profile), default=0.0)


_STRETCH = re.compile(r"stream:(?P<stream>[a-z0-9_]+)/(?P<partition>\d+)/(?P<first>\d+)-(?P<last>\d+)")


class Stretch(NamedTuple):
    """Which offsets of which partition of a stream a part holds: from `first` to `last`, both included."""

    stream: str
    partition: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """How the part is called."""
        return f"stream:{self.stream}/{self.partition}/{self.first}-{self.last}"


def stretch_of(part: Part) -> Stretch | None:
    """Where a part's rows came from, None for one that no stream brought."""
    found = _STRETCH.fullmatch(part.name)
    return Stretch(found["stream"], *(int(found[n]) for n in ("partition", "first", "last"))) if found else None


def part_file(tables: Path, source: str, part_digest: str) -> Path:
    """Where a part lies."""
    return tables / source / f"{part_digest}.parquet"


def quarantine_file(tables: Path, source: str, name: str) -> Path:
    """Where the rows that a part's checks set aside lie."""
    return tables / source / "quarantine" / f"{name}.parquet"


def combine(profiles: Iterable[Mapping[str, ColumnProfile]], schema: Schema) -> dict[str, ColumnProfile]:
    """The profile of all parts together (`distinct` becomes a lower bound)."""
    found = list(profiles)
    out = {}
    for column, kind in schema.items():
        seen = [p[column] for p in found if column in p]
        key = float if kind in (Type.INT64, Type.FLOAT64) else str
        least = [p.least for p in seen if p.least is not None]
        greatest = [p.greatest for p in seen if p.greatest is not None]
        out[column] = ColumnProfile(
            nulls=sum(p.nulls for p in seen),
            least=min(least, key=key) if least else None,
            greatest=max(greatest, key=key) if greatest else None,
            magnitude=max((p.magnitude for p in seen if p.magnitude is not None), default=None),
            distinct=max((p.distinct for p in seen), default=0),
        )
    return out
