"""Tables in S3 objects, named by a key or a glob: `s3://bucket/flights/*.parquet`."""

from __future__ import annotations

import fnmatch
import uuid
from pathlib import Path, PurePosixPath

from fivefold.core.canonical import digest
from fivefold.core.errors import NotFound, Unavailable, missing_extra
from fivefold.ports.tables import Partition, TableReader

_PIECE = 8 << 20


class S3Objects:
    """Objects of one bucket: every object that matches is a partition, brought here before it is read."""

    def __init__(self, url: str, *, root: str = ".", **options: str) -> None:
        try:
            from obstore.store import S3Store
        except ImportError:
            raise missing_extra("obstore", "s3", f"the table {url}") from None
        bucket, _, self._pattern = url.removeprefix("s3://").partition("/")
        self._where = f"s3://{bucket}"
        client = {"allow_http": True} if options.get("endpoint", "").startswith("http://") else {}
        self._store = S3Store(bucket, config=dict(options), client_options=client)  # type: ignore[arg-type]

    def partitions(self) -> list[Partition]:
        import obstore
        from obstore.exceptions import BaseError

        fixed = PurePosixPath(*_until_wild(self._pattern))
        try:
            found = [
                meta
                for batch in obstore.list(self._store, prefix=str(fixed) if str(fixed) != "." else None)
                for meta in batch
                if fnmatch.fnmatchcase(meta["path"], self._pattern)
            ]
        except BaseError as e:
            raise Unavailable(f"cannot list {self._where}/{self._pattern}: {_brief(e)}.") from e
        if not found:
            raise NotFound(
                f"no object matches {self._where}/{self._pattern}.", hint="Check the bucket and the pattern."
            )
        found.sort(key=lambda m: m["path"])
        return [
            Partition(
                m["path"],
                digest("object", [m["path"], str(m["size"]), m["e_tag"] or str(m["last_modified"])]),
                m["size"],
            )
            for m in found
        ]

    def fetch(self, partition: Partition, scratch: Path) -> Path:
        import obstore
        from obstore.exceptions import BaseError

        # the ending tells the format
        target = scratch / f"{uuid.uuid4().hex}{''.join(PurePosixPath(partition.name).suffixes[-2:])}"
        scratch.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as f:
                for piece in obstore.get(self._store, partition.name).stream(min_chunk_size=_PIECE):
                    f.write(piece)
        except FileNotFoundError:
            raise NotFound(f"the object {partition.name} has gone since it was listed.", hint="Run it again.") from None
        except BaseError as e:
            raise Unavailable(f"cannot read {self._where}/{partition.name}: {_brief(e)}.") from e
        return target


def _until_wild(pattern: str) -> list[str]:
    """The folders of a glob before its first wildcard."""
    parts = pattern.split("/")[:-1]
    return parts[: next((i for i, p in enumerate(parts) if any(c in p for c in "*?[")), len(parts))]


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]


provides = {TableReader: S3Objects}
