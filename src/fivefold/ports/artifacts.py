"""Where bytes are kept, named by their SHA-256."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Protocol, runtime_checkable

from fivefold.core.errors import Invalid, NotFound

_DIGEST = re.compile(r"[0-9a-f]{64}")


@runtime_checkable
class ArtifactStore(Protocol):
    """Immutable blobs under the digest of their bytes; `blobs` and `trees` do the hashing, a store only keeps.

    When reading `data` fails in `put`, the error passes through and nothing is stored.
    """

    def put(self, digest: str, data: BinaryIO) -> None:
        """Keeps the bytes of `data`, all or nothing; putting what is there is fine."""

    def get(self, digest: str) -> BinaryIO:
        """A reader of the bytes, to be closed; raises NotFound."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """The digests that start with `prefix`, in any order."""

    def delete(self, digest: str) -> None:
        """Forgets the bytes; deleting what is gone is fine."""


def checked(digest: str) -> str:
    """The digest itself; raises Invalid when it is not 64 lower-case hex characters, so that none is ever a path."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise Invalid(f"{digest!r:.100} is not a digest (accepted: 64 characters of 0-9 and a-f).")
    return digest


def missing(digest: str, where: str) -> NotFound:
    """The error of every store for a digest it does not hold."""
    return NotFound(f"no artifact {digest} in {where}.", hint="It was deleted, or never stored there.")
