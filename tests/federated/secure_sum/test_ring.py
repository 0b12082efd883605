from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sum_reference import pack

from fivefold.core.errors import Invalid
from fivefold.federated.secure_sum.ring import Ring


@given(bits=st.integers(1, 64), data=st.data())
def test_packing_is_one_little_endian_number_and_comes_back(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=200))
    ring = Ring(bits)
    words = ring.words(np.array(values, np.uint64), 2**bits - 1)
    assert ring.pack(words) == pack(values, bits if bits <= 57 else 64)
    assert ring.reduced(ring.unpack(ring.pack(words), len(values))).tolist() == values


def test_bytes_of_another_length_and_bits_beyond_the_end_are_refused() -> None:
    ring = Ring(5)
    with pytest.raises(Invalid, match="has 2 bytes, not 3"):
        ring.unpack(bytes(3), 3)
    with pytest.raises(Invalid, match="beyond the last value"):
        ring.unpack(b"\x00\x80", 3)


def test_the_expansion_is_that_of_the_paper() -> None:
    """Bonawitz et al. (2017), section 7: 16-bit inputs of 2**10 clients travel as 26 bits."""
    assert Ring(26).packed_size(1 << 20) * 8 == 26 << 20
