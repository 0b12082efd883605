from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.expressions import parse
from fivefold.core.types import Type

_TEXTS = st.lists(st.text("aAbé%_!\\\n.👨", max_size=7), min_size=30, max_size=60)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.text("aAbé%%_!\\\n.", max_size=6), escaped=st.booleans(), fold=st.booleans(), texts=_TEXTS)
def test_like_matches_what_duckdb_matches(pattern: str, escaped: bool, fold: bool, texts: list[str],
                                          evaluate: Any) -> None:
    text = f"s {'ilike' if fold else 'like'} '{pattern}'" + (" escape '!'" if escaped else "")
    try:
        parse(text, {"s": Type.STRING})
    except Invalid:
        assume(False)
    from_sql, from_row = evaluate(text, [{"s": t} for t in texts])
    assert from_sql == from_row


def test_many_wildcards_do_not_backtrack(evaluate: Any) -> None:
    rows = [{"s": "a" * 3000 + "b"}, {"s": "a" * 3000}]
    assert evaluate("s like '" + "%a" * 30 + "%c'", rows) == ([False, False], [False, False])
    assert evaluate("s like '" + "%a" * 30 + "%b'", rows) == ([True, False], [True, False])
