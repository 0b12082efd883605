"""Entities: equal codes for equal keys, and nothing else."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.features.kernel import keys as kernel
from fivefold.features.kernel.keys import codes_of, entities

KEY = st.tuples(
    st.sampled_from([None, 1, 2, -(2**63), 2**63 - 1]),
    st.sampled_from([None, "", "a", "é"]),
    st.sampled_from([None, True, False]),
)


def arrays(rows: list[tuple[Any, ...]], width: int) -> list[pa.Array]:
    kinds = (pa.int64(), pa.string(), pa.bool_())[:width]
    return [pa.array([r[i] for r in rows], kind) for i, kind in enumerate(kinds)]


@pytest.mark.parametrize("table", [kernel._TABLE, 0])
@given(spine=st.lists(KEY, max_size=30), source=st.lists(KEY, max_size=30), width=st.integers(1, 3))
def test_codes_are_equal_exactly_where_keys_are(table: int, spine: list[Any], source: list[Any], width: int) -> None:
    spine, source = [k[:width] for k in spine], [k[:width] for k in source]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "_TABLE", table)  # both ways of numbering
        known = entities(arrays(spine, width))
        found = codes_of(known, arrays(source, width))
    number = {key: code for key, code in zip(spine, known.codes.tolist(), strict=True) if None not in key}
    assert known.codes.tolist() == [number.get(key, -1) for key in spine]
    assert sorted(number.values()) == sorted(set(number.values()))
    assert all(0 <= code < known.count for code in number.values())
    assert found.tolist() == [number.get(key, -1) for key in source]
