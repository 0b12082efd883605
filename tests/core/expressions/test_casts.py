from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_SPELLED = st.one_of(
    st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
    st.floats().map(repr), st.integers(-2**64, 2**64).map(str),
    st.text("+-.0123456789eE_ \t\0infaNn\u0660\uff11", max_size=12))


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(_SPELLED, min_size=50, max_size=100))
def test_text_is_read_as_the_same_number_or_as_none(texts: list[str], evaluate: Any, same: Any) -> None:
    rows = [{"s": text} for text in texts]
    for form in ("cast(s as int64)", "cast(s as float64)"):
        from_sql, from_row = evaluate(form, rows)
        assert [found for found in zip(texts, from_sql, from_row, strict=True) if not same(*found[1:])] == []
