from __future__ import annotations

import hashlib
import io
import uuid

import pytest

from fivefold.backends import connect
from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.artifacts import ArtifactStore

DIGEST = hashlib.sha256(b"x").hexdigest()


def test_a_bucket_must_be_named() -> None:
    with pytest.raises(Invalid, match="names no bucket"):
        connect(ArtifactStore, "s3:///prefix")


def test_a_bucket_that_does_not_exist_is_not_taken_for_a_missing_artifact(s3_server: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="s3://nosuchbucket: there is no such bucket"):
        connect(ArtifactStore, "s3://nosuchbucket", **s3_server).get(DIGEST)


def test_wrong_credentials_are_invalid_and_shown_nowhere(s3_server: dict[str, str]) -> None:
    store = connect(ArtifactStore, "s3://artifacts/x", **{**s3_server, "secret_access_key": "not-the-secret"})
    with pytest.raises(Invalid, match="refuses these credentials") as raised:
        store.get(DIGEST)
    chain = f"{raised.value!r} {raised.value} {raised.value.__cause__!r} {store!r}"
    assert "not-the-secret" not in chain
    assert s3_server["access_key_id"] not in chain


def test_a_server_that_does_not_answer_is_unavailable(s3_server: dict[str, str]) -> None:
    store = connect(ArtifactStore, "s3://artifacts", **{**s3_server, "endpoint": "http://127.0.0.1:1"}, timeout=0.5)
    for call in (lambda: store.put(DIGEST, io.BytesIO(b"x")), lambda: store.get(DIGEST), lambda: list(store.list()),
                 lambda: store.delete(DIGEST)):
        with pytest.raises(Unavailable, match="s3://artifacts did not answer"):
            call()


def test_two_prefixes_of_one_bucket_are_two_stores(s3_server: dict[str, str]) -> None:
    one, two = (connect(ArtifactStore, f"s3://artifacts/{uuid.uuid4().hex}/deep", **s3_server) for _ in range(2))
    one.put(DIGEST, io.BytesIO(b"x"))
    assert (list(one.list()), list(two.list())) == ([DIGEST], [])
