"""Artifacts in memory, gone with the process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from fivefold.ports.artifacts import ArtifactStore, checked, missing


class Artifacts:
    """Fits ArtifactStore. Every connection is a store of its own."""

    def __init__(self, url: str) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, digest: str, data: BinaryIO) -> None:
        self._blobs[checked(digest)] = data.read()

    def get(self, digest: str) -> BinaryIO:
        if checked(digest) not in self._blobs:
            raise missing(digest, "memory")
        return io.BytesIO(self._blobs[digest])

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter([digest for digest in self._blobs.copy() if digest.startswith(prefix)])

    def delete(self, digest: str) -> None:
        self._blobs.pop(checked(digest), None)


provides = {ArtifactStore: Artifacts}
