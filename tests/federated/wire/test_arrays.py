from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fivefold.core.errors import Invalid
from fivefold.federated.wire.arrays import TYPES, decode, encode


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.sampled_from(TYPES).flatmap(lambda t: hnp.arrays(t, hnp.array_shapes(min_dims=0, min_side=0, max_side=5))), max_size=4))
def test_arrays_come_back_bit_for_bit(arrays: dict[str, Any]) -> None:
    found = decode(encode(arrays))
    assert list(found) == sorted(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_big_endian_and_strided_arrays_are_the_same_numbers() -> None:
    array = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    assert decode(encode({"a": array}))["a"].tolist() == array.tolist()


@pytest.mark.parametrize("array", [np.array([object()]), np.array(["text"]), np.array([1j]), np.array(["2026-01-01"], "M8[s]"), np.zeros(1, [("a", "i4")])])
def test_what_is_not_a_number_is_refused(array: Any) -> None:
    with pytest.raises(Invalid, match="of type"):
        encode({"a": array})


def forged(*headers: Any, data: bytes = b"") -> bytes:
    header = msgspec.msgpack.encode(list(headers))
    return b"ffa1" + len(header).to_bytes(4, "little") + header + data


@pytest.mark.parametrize(("data", "why"), [
    (b"", "no arrays"),
    (b"\x80\x04pickle", "no arrays"),
    (b"ffa1\xff\xff\xff\xff", "no arrays"),
    (forged(["a", "|O", [1]], data=bytes(8)), "type '.O'"),
    (forged(["a", "<f8", [2**40]]), "fewer bytes"),
    (forged(["a", "<f8", [2**40, 0, 2**40], "more"]), "cannot be read"),
    (forged(["a", "<f8", [-1]]), "shape"),
    (forged(["a", "<f8", [1] * 17], data=bytes(8)), "shape"),
    (forged(["a", "|u1", [1]], ["a", "|u1", [1]], data=bytes(2)), "each name once"),
    (forged(["a", "|u1", [1]], data=bytes(2)), "1 bytes too many"),
    (forged("rubbish"), "cannot be read"),
])
def test_what_does_not_add_up_is_refused_before_anything_is_allocated(data: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        decode(data)
