"""Files that only their owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from fivefold.core.errors import Invalid, Unavailable


def write_private(path: Path, data: bytes) -> None:
    """Put a file in its place, whole or not at all, readable by its owner alone from the first byte on.

    Raises Unavailable when it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as wrong:
        raise Unavailable(f"cannot write {path}: {wrong.strerror}.") from wrong


def read_private(path: Path) -> bytes | None:
    """The bytes of a file; None when there is none. Raises Invalid when others may read it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise Invalid(
                    f"{path} holds a private key and has mode {mode:o} (accepted: 600).", hint=f"Run: chmod 600 {path}"
                )
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as wrong:
        raise Unavailable(f"cannot read {path}: {wrong.strerror}.") from wrong
