from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fivefold.backends import connect
from fivefold.federated.refusals import Refused
from fivefold.federated.wire import parcels
from fivefold.federated.wire.parcels import CHUNK, Parcel
from fivefold.ports.artifacts import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return connect(ArtifactStore, f"files:{tmp_path}/store")


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_bytes_of_any_size_come_back(store: ArtifactStore, size: int) -> None:
    data = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    parcel = parcels.put(store, data)
    assert parcel == parcels.parcel_of(data)
    parcel.require(size)
    assert parcels.get(store, parcel) == data


def test_a_fetch_that_was_cut_short_goes_on_where_it_was(store: ArtifactStore) -> None:
    chunks = [bytes([i]) * CHUNK for i in range(4)]
    data = b"".join([*chunks, chunks[0]])
    held = {hashlib.sha256(c).hexdigest(): c for c in chunks}
    asked: list[str] = []

    def ask(digest: str) -> bytes:
        if len(asked) == 2:
            asked.append("cut")
            raise ConnectionError
        asked.append(digest)
        return held[digest]

    with pytest.raises(ConnectionError):
        parcels.fetch(store, parcels.parcel_of(data), len(data), ask)
    assert parcels.fetch(store, parcels.parcel_of(data), len(data), ask) == data
    # what is there is not asked for again, nor is what comes twice
    assert sorted(a for a in asked if a != "cut") == sorted(held)


def test_a_chunk_that_is_not_the_one_asked_for_is_refused(store: ArtifactStore) -> None:
    for wrong in (b"another", bytes(CHUNK + 1)):
        with pytest.raises(Refused, match="not asked for"):
            parcels.fetch(store, parcels.parcel_of(b"data"), 10, lambda digest, wrong=wrong: wrong)


@pytest.mark.parametrize("parcel", [Parcel(11, bytes(32)), Parcel(-1, b""), Parcel(10, b""), Parcel(10, bytes(64)), Parcel(10, bytes(31)), Parcel(2**60, bytes(32))])
def test_more_than_was_agreed_on_is_refused_before_anything_is_asked(store: ArtifactStore, parcel: Parcel) -> None:
    def ask(digest: str) -> bytes:
        raise AssertionError

    with pytest.raises(Refused):
        parcels.fetch(store, parcel, 10, ask)


def test_a_parcel_that_says_another_size_than_it_has_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(Refused, match="a parcel of 5 bytes has 4"):
        parcels.fetch(store, Parcel(5, hashlib.sha256(b"data").digest()), 10, lambda digest: b"data")
