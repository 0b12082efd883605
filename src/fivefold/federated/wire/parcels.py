"""Parcels: bytes of any size as chunks of 1 MiB, named by their digests. What has arrived is never sent again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import msgspec

from fivefold.federated.refusals import Refused
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.blobs import holds, put_blob, read_blob

CHUNK = 1 << 20
DIGEST_BYTES = 32


class Parcel(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of how many bytes, and the SHA-256 of each chunk (32 bytes each, joined)."""

    size: int
    digests: bytes

    @property
    def chunks(self) -> list[str]:
        """The digests, in hex, in order."""
        found = self.digests
        return [found[i : i + DIGEST_BYTES].hex() for i in range(0, len(found), DIGEST_BYTES)]

    def length(self, number: int) -> int:
        """How many bytes a chunk has."""
        return min(CHUNK, self.size - number * CHUNK)

    def require(self, most: int) -> None:
        """Raises Refused, before anything is allocated, when it says more than `most` bytes or does not add up."""
        if not 0 <= self.size <= most:
            raise Refused(f"{self.size} bytes are announced (accepted: up to {most}).")
        if len(self.digests) != DIGEST_BYTES * -(-self.size // CHUNK):
            raise Refused(f"{self.size} bytes are not {len(self.digests) // DIGEST_BYTES} chunks of 1 MiB.")


def parts(data: bytes) -> Iterator[bytes]:
    """The chunks of some bytes."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def parcel_of(data: bytes) -> Parcel:
    """The parcel of some bytes, which are stored nowhere."""
    return Parcel(len(data), b"".join(hashlib.sha256(part).digest() for part in parts(data)))


def put(store: ArtifactStore, data: bytes) -> Parcel:
    """Store some bytes in chunks; those that are there already are not written again."""
    return Parcel(len(data), b"".join(bytes.fromhex(put_blob(store, bytes(part)).digest) for part in parts(data)))


def get(store: ArtifactStore, parcel: Parcel) -> bytes:
    """The bytes of a parcel whose chunks are all there, verified. Raises NotFound, and Invalid for damaged ones."""
    return b"".join(read_blob(store, digest, CHUNK, "chunk") for digest in parcel.chunks)


def missing(store: ArtifactStore, parcel: Parcel) -> list[str]:
    """The digests of chunks that are not there yet, each once."""
    return [digest for digest in dict.fromkeys(parcel.chunks) if not holds(store, digest)]


def fetch(store: ArtifactStore, parcel: Parcel, most: int, ask: Callable[[str], bytes]) -> bytes:
    """The bytes of a parcel; `ask` gives those chunks that are missing. One that was cut short goes on where it was.

    Raises Refused for more than `most` bytes, and for a chunk that is not the one asked for.
    """
    parcel.require(most)
    for digest in missing(store, parcel):
        chunk = ask(digest)
        if len(chunk) > CHUNK or hashlib.sha256(chunk).hexdigest() != digest:
            raise Refused("a chunk came that was not asked for.")
        put_blob(store, chunk)
    data = get(store, parcel)
    if len(data) != parcel.size:
        raise Refused(f"a parcel of {parcel.size} bytes has {len(data)}.")
    return data
