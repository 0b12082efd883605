"""Bytes in and out of an artifact store, hashed while they stream."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.artifacts import ArtifactStore, checked

CHUNK = 1 << 20
_IN_MEMORY = 8 << 20
_DAMAGED = "They were damaged: delete the artifact and store it again."


class Blob(msgspec.Struct, frozen=True):
    """What was stored: the SHA-256 of the bytes and how many there are."""

    digest: str
    size: int


class Verified(io.RawIOBase):
    """A reader that raises Invalid at the end of `source` when the bytes were not those of `digest`.

    Bytes read before the end are not verified yet.
    """

    def __init__(self, source: BinaryIO, digest: str, what: str = "artifact", hint: str = _DAMAGED) -> None:
        self._source, self._digest, self._what, self._hint = source, digest, what, hint
        self._hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._source.read(len(buffer))
        if not data:
            found = self._hash.hexdigest()
            if found != self._digest:
                raise Invalid(f"{self._what}: the bytes are those of {found}, not of {self._digest}.", hint=self._hint)
            return 0
        self._hash.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def put_blob(store: ArtifactStore, data: BinaryIO | bytes) -> Blob:
    """Stores bytes under their digest; what is there already is not sent again.

    Raises Unavailable when the disk for the temporary copy of a stream is full.
    """
    if isinstance(data, bytes):
        return _send(store, io.BytesIO(data), hashlib.sha256(data).hexdigest(), len(data))
    try:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            shutil.copyfileobj(data, spool, CHUNK)
            return _hash_and_send(store, spool)
    except OSError as wrong:
        raise unwritten(Path(tempfile.gettempdir()), wrong) from wrong


def put_file(store: ArtifactStore, path: Path) -> Blob:
    """Stores the bytes of a file; a file that changes meanwhile is refused with Invalid."""
    with path.open("rb") as file:
        return _hash_and_send(store, file)


def get_blob(store: ArtifactStore, digest: str, what: str = "artifact") -> BinaryIO:
    """A reader of the blob that verifies it at its end; raises NotFound, and Invalid for damaged bytes."""
    return io.BufferedReader(Verified(store.get(checked(digest)), digest, what), CHUNK)


def read_blob(store: ArtifactStore, digest: str, limit: int, what: str = "artifact") -> bytes:
    """All bytes of the blob, verified; raises Invalid when there are more than `limit`."""
    with get_blob(store, digest, what) as reader:
        data = reader.read(limit + 1)
    if len(data) > limit:
        raise Invalid(f"{what} {digest} has more than {limit} bytes.")
    return data


def holds(store: ArtifactStore, digest: str) -> bool:
    """Whether the store has the blob (not whether its bytes are sound)."""
    return digest in store.list(digest)


def unwritten(path: Path, wrong: OSError) -> Unavailable:
    """The error for a disk that is full or refuses."""
    return Unavailable(
        f"cannot write {path}: {wrong.strerror or wrong}.", hint="Free space there or name another folder."
    )


def _hash_and_send(store: ArtifactStore, data: Any) -> Blob:
    data.seek(0)
    hashed = hashlib.file_digest(data, "sha256")
    size = data.tell()
    data.seek(0)
    return _send(store, data, hashed.hexdigest(), size)


def _send(store: ArtifactStore, data: BinaryIO, digest: str, size: int) -> Blob:
    if not holds(store, digest):
        kept = _Kept(data, digest, "what is to be stored", "It changed meanwhile: store it again.")
        with io.BufferedReader(kept, CHUNK) as reader:
            store.put(digest, reader)
    return Blob(digest, size)


class _Kept(Verified):
    """Verified, but the source stays open: it is the caller's."""

    def close(self) -> None:
        io.RawIOBase.close(self)
