"""Reading tables from where they live."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec


class Partition(msgspec.Struct, frozen=True):
    """A piece of a table that changes as a whole: a file, an object, a database table.

    `fingerprint` changes whenever the content may have changed; it costs no read of the content.
    """

    name: str
    fingerprint: str
    bytes: int = 0


class TableReader(Protocol):
    """Finds a table's partitions and brings one to this machine as a Parquet, CSV or JSON file."""

    def partitions(self) -> list[Partition]:
        """Every partition there is now, ordered by name. Raises NotFound when there is none."""
        ...

    def fetch(self, partition: Partition, scratch: Path) -> Path:
        """A local file with the partition's rows; what is downloaded goes into `scratch`.

        Raises NotFound when it is gone, Unavailable when its home does not answer.
        """
        ...
