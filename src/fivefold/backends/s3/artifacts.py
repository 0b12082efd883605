"""Artifacts in an S3 bucket: objects `prefix/ab/cd/abcd…`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, BinaryIO

import obstore
from obstore import exceptions as wrong
from obstore.store import S3Store

from fivefold.backends.url import parse
from fivefold.core.errors import Invalid, NotFound, Unavailable
from fivefold.ports.artifacts import ArtifactStore, checked, missing

PART = 8 << 20


class Artifacts:
    """Fits ArtifactStore. Credentials are options, or obstore finds them in the environment as AWS tools do.

    `endpoint` is for services other than Amazon's (http:// is allowed then); `timeout` in seconds bounds retries.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        timeout: float = 60,
    ) -> None:
        where = parse(url)
        if not where.host:
            raise Invalid(f"{where} names no bucket.", hint="Write s3://bucket or s3://bucket/prefix.")
        given = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
            "session_token": session_token,
        }
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if endpoint is not None:
            known |= {
                "virtual_hosted_style_request": False,
                "client_options": {"allow_http": endpoint.startswith("http://")},
            }
        self._shown = str(where)
        self._store = S3Store(
            where.host,
            prefix=where.path.strip("/") or None,
            **known,
            retry_config={"retry_timeout": timedelta(seconds=timeout)},
        )

    def __repr__(self) -> str:
        return f"Artifacts({self._shown!r})"

    def put(self, digest: str, data: BinaryIO) -> None:
        path = _path(digest)
        head = _part(data)
        if len(head) < PART:
            with self._translated(digest), contextlib.suppress(wrong.AlreadyExistsError):
                obstore.put(self._store, path, head, mode="create")
            return
        # in parts, so that it never is in memory whole; nothing is visible before the writer is closed, and writing
        # the same bytes twice is harmless
        writer = obstore.open_writer(self._store, path, buffer_size=PART)
        while head:
            with self._translated(digest):
                writer.write(head)
            head = _part(data)
        with self._translated(digest):
            writer.close()

    def get(self, digest: str) -> BinaryIO:
        path = _path(digest)
        with self._translated(digest):
            return io.BufferedReader(_Chunks(self, digest, obstore.get(self._store, path)), 1 << 20)

    def list(self, prefix: str = "") -> Iterator[str]:
        # a prefix of S3 ends at a slash here: narrow down by folders, then by the name
        folder = "/".join(part for part in (prefix[:2], prefix[2:4]) if len(part) == 2)
        with self._translated(prefix):
            for page in obstore.list(self._store, folder or None):
                for meta in page:
                    name = meta["path"].rpartition("/")[2]
                    if name.startswith(prefix) and len(name) == 64:
                        yield name

    def delete(self, digest: str) -> None:
        path = _path(digest)
        with contextlib.suppress(NotFound), self._translated(digest):
            obstore.delete(self._store, path)

    @contextlib.contextmanager
    def _translated(self, digest: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, wrong.NotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise Invalid(f"{self._shown}: there is no such bucket.", hint="Create it first.") from None
            raise missing(digest, self._shown) from None
        except (wrong.PermissionDeniedError, wrong.UnauthenticatedError):
            raise Invalid(
                f"{self._shown} refuses these credentials.",
                hint="Check access_key_id, secret_access_key and what they may do there.",
            ) from None
        except wrong.BaseError as error:
            raise Unavailable(f"{self._shown} did not answer: {_first_line(error)}", hint="Try again.") from None


class _Chunks(io.RawIOBase):
    """The chunks of an answer as a file."""

    def __init__(self, store: Artifacts, digest: str, answer: Any) -> None:
        self._store, self._digest = store, digest
        self._chunks = iter(answer.stream(min_chunk_size=1 << 20))
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._left:
            with self._store._translated(self._digest):
                self._left = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _part(data: BinaryIO) -> bytes:
    """The next 8 MB, less only at the end: one read may give less than there is."""
    part = bytearray()
    while len(part) < PART and (more := data.read(PART - len(part))):
        part += more
    return bytes(part)


def _path(digest: str) -> str:
    return f"{checked(digest)[:2]}/{digest[2:4]}/{digest}"


def _first_line(error: Exception) -> str:
    # what follows can be a whole answer of the server
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


provides = {ArtifactStore: Artifacts}
