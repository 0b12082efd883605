from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.expressions.regexp import regexp_pattern

_PIECES = ["a", "b", "A", "é", "日", "0", "_", " ", r"\n", r"\t", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b",
           r"\.", r"\-", r"\\", ".", "^", "$", "|", "(", "(?:", ")", "[", "[^", "]", "-", "*", "+", "?", "{2}", "{1,2}",
           "{2,}", "\n"]
_TEXTS = st.lists(st.text("aAbé日0_ \n\t\v-.%\\^\0", max_size=6), min_size=30, max_size=60)


@settings(deadline=None, max_examples=300,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])
@given(pattern=st.lists(st.sampled_from(_PIECES), max_size=6).map("".join), texts=_TEXTS)
def test_whatever_is_accepted_matches_the_same_texts_in_both(pattern: str, texts: list[str], evaluate: Any) -> None:
    try:
        regexp_pattern(pattern)
    except Invalid:
        assume(False)
    from_sql, from_row = evaluate(f"regexp_matches(s, '{pattern}')", [{"s": t} for t in texts])
    assert from_sql == from_row


@pytest.mark.parametrize(("pattern", "why"), [
    ("(?i)a", "a special group"), ("(?P<n>a)", "a special group"), ("(?=a)", "a special group"),
    (r"\x41", r"the escape \x"),
    (r"\1", r"the escape \1"), (r"\pL", r"the escape \p"), (r"a\B", r"the escape \B"), (r"a\z", r"the escape \z"),
    ("(a+)+", "a repetition of"), ("(a|a)*", "a repetition of"), ("(a?)*", "a repetition of"),
    ("^*", "a repetition of"),
    ("a**", "a repetition of a repetition"), ("a*?", "a repetition of a repetition"), ("a{2}{3}", "a repetition of a"),
    ("a{101}", "a count beyond 100"), ("a{3,2}", "out of order"), ("a?" * 9, "more than 8"), ("[", "an unclosed class"),
    ("[]a]", "an empty class"), ("[b-a]", "a range out of order"), ("[[:alpha:]]", "a bare [ in a class"),
    ("[a-c-e]", "a bare - inside"), (r"[\D]", r"the escape \D in a class"), ("a)", "an unmatched )"),
    ("(a", "an unclosed group"),
    ("()", "an empty alternative"), ("a|", "an empty alternative"), ("{2}", "a bare {"), ("a}", "a bare }"),
    ("\\", "the escape"),
])
def test_what_the_two_engines_read_differently_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        regexp_pattern(pattern)
    assert why in str(caught.value)
