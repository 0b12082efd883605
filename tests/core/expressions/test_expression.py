import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot.tokens import Tokenizer

from fivefold.core.errors import Invalid
from fivefold.core.expressions import columns_used, parse
from fivefold.core.types import Type

COLUMNS = {"i": Type.INT64, "x": Type.FLOAT64, "b": Type.BOOL, "s": Type.STRING, "t": Type.TIMESTAMP,
           "wind_speed": Type.FLOAT64, "wind dir": Type.FLOAT64}


@pytest.mark.parametrize(("written", "canonical"), [
    ("x+1", "x + 1"), ("( x )", "x"), ('"x" + 1', "x + 1"), ("x/*why*/+1 -- because", "x + 1"),
    ("COALESCE(x,\n 0)", "coalesce(x, 0)"), ("POWER(x, 2)", "pow(x, 2)"), ("i != 1", "i <> 1"), ("i == 1", "i = 1"),
    ("x*(i+1)", "x * (i + 1)"), ("(x*i)+1", "x * i + 1"), ("x-(i-1)", "x - (i - 1)"), ("(x-i)-1", "x - i - 1"),
    ("b and (b and b)", "b and b and b"), ("b AND (b OR b)", "b and (b or b)"), ("not (i is null)", "i is not null"),
    ("not i = 1", "not i = 1"), ("i NOT IN (1,2)", "i not in (1, 2)"), ("- -x", "-(-x)"), ("-(5)", "-5"),
    ("x - -5", "x - -5"),
    ("1.50", "1.5"), ("1e3", "1000.0"), ("x::int", "cast(x as int64)"), ("cast(x AS bigint)", "cast(x as int64)"),
    ("if(b, 1, 2)", "case when b then 1 else 2 end"), ("case when b then 1 else null end", "case when b then 1 end"),
    ("case i when 1 then 2 end", "case when i = 1 then 2 end"), ("\"wind dir\" + 1", '"wind dir" + 1'),
    ("timestamp '2013-11-01 00:00:00'", "timestamp '2013-11-01T00:00:00Z'"), ("s || 'a' || s", "s || 'a' || s"),
    ("DATE_TRUNC('HOUR', t)", "date_trunc('hour', t)"), ("s NOT LIKE 'a!%' ESCAPE '!'", "s not like 'a!%' escape '!'"),
    ("x between 1 and 2 and b", "x between 1 and 2 and b"), ("round(x,2)", "round(x, 2)"), ("i + 0.5", "i + 0.5"),
])
def test_every_layout_of_a_meaning_has_one_text(written: str, canonical: str) -> None:
    expression = parse(written, COLUMNS)
    assert expression.text == canonical
    assert parse(canonical, COLUMNS) == expression


def test_the_text_does_not_depend_on_numeric_column_types() -> None:
    assert parse("a * 2", {"a": Type.INT64}).text == parse("a * 2", {"a": Type.FLOAT64}).text


def test_columns_come_in_order_of_first_use_and_once() -> None:
    text = 'case when b then x + "wind dir" else i + x end'
    assert parse(text, COLUMNS).columns == columns_used(text) == ("b", "x", "wind dir", "i")


@pytest.mark.parametrize("written", ["-(-0.0)", "- - 0.0", "-(-0)", "coalesce(x, -(-(-0.0)))", "-(-5)", "-(-5.5)"])
def test_negated_numbers_keep_their_text_when_read_again(written: str) -> None:
    once = parse(written, {"x": Type.FLOAT64})
    assert parse(once.text, {"x": Type.FLOAT64}) == once


def test_a_feature_can_be_named_with_its_view() -> None:
    expression = parse("weather.last_temp * 2", {"weather.last_temp": Type.FLOAT64, "last_temp": Type.FLOAT64})
    assert expression.columns == ("weather.last_temp",)
    assert expression.text == parse('"weather.last_temp"*2', {"weather.last_temp": Type.FLOAT64}).text
    assert expression.sql() == parse(expression.text, {"weather.last_temp": Type.FLOAT64}).sql()
    assert expression.function()(2.5) == 5.0


def test_columns_can_be_listed_without_types() -> None:
    assert columns_used("wind_speed * abs(sin(radians(wind_dir))) + wind_speed") == ("wind_speed", "wind_dir")


def test_any_word_of_sql_can_name_a_column_when_quoted() -> None:
    words = sorted({k.lower() for k in Tokenizer.KEYWORDS if k.isidentifier()} | {"x y", 'say "so"', "é", "1st", "a.b"})
    for word in words:
        quoted = '"' + word.replace('"', '""') + '"'
        for form in ("{} + 1", "abs({})", "case when {} > 1 then {} end", "-{} is null", "1 - {}", "{}"):
            expression = parse(form.replace("{}", quoted), {word: Type.INT64})
            assert expression.columns == (word,)
            assert parse(expression.text, {word: Type.INT64}) == expression


@pytest.mark.parametrize(("text", "said"), [
    ("wind_sped + 1", "Did you mean 'wind_speed'?"), ("lenght(s)", "no function 'lenght'. Did you mean 'length'?"),
    ("log(x)", "ln(x), log2(x) or log10(x)"), ("s + 1", "+ cannot take string and int64 in 's + 1'"),
    ("t > '2013-01-01'", "Write a time as timestamp"), ("i = b", "= cannot take int64 and bool"),
    ("abs(s)", "abs cannot take string"), ("b and i", "and cannot take bool and int64"),
    ("-s", "negate cannot take string"),
    ("case when i then 1 end", "a condition of a case is int64, not bool"),
    ("case when b then 1 else 'a' end", "case cannot bring int64 and string to one type"),
    ("coalesce(i, s)", "coalesce cannot bring"), ("x +", "breaks at line 1, column 3"), ("(x", "expecting )"),
    ("x +\n* 2 2", "breaks at line 2, column 3"), ("'abc", "is not an SQL expression"),
    ("x y", "breaks at line 1, column 3"),
    ("", "is not one expression"), ("x; i", "is not one expression"), ("null", "always null"), ("x as y", "near 'as'"),
    ("|| cast + i { : } <", "is not an SQL expression"),
    ("sum(x)", "sum is an aggregate"), ("count(*)", "is an aggregate"), ("max(i, 2)", "greatest(a, b)"),
    ("sum(x) over ()", "not part of the expression language"), ("(select 1)", "put queries in a View"),
    ("i in (select 1)", "not a query"), ("exists(select 1)", "put queries in a View"), ("*", "the column's name."),
    ("f.x", "no column 'f.x'"), ("a.b.c", "Write the column's name alone"), ("?", "Write the value out"), (":p", "Write the value out"),
    ("x ^ 2", "pow(a, b)"), ("i in (1, null)", "not null"), ("i in (x)", "literals"), ("interval '1' hour", "seconds"),
    ("99999999999999999999", "does not fit int64"), ("1e999", "beyond float64"), ("now()", "no present"),
    ("cast(s as timestamp)", "cannot cast string to timestamp"), ("cast(t as int64)", "epoch_us(t)"),
    ("cast(x as decimal(3, 2))", "no type 'decimal(3, 2)'"), ("date '2013-11-01'", "Write timestamp"),
    ("timestamp 'yesterday'", "not a date or time"), ("date_trunc('hours', t)", "Did you mean 'hour'?"),
    ("round(x, i)", "written out"), ("round(x, 16)", "from -15 to 15"), ("s like s", "as a text literal"),
    ("s like 'a!b' escape '!'", "escapes neither"), ("s like 'a' escape 'b'", "punctuation"),
    ("regexp_matches(s, s)", "written as a text literal"), ("regexp_matches(s, '(a+)+')", "a repetition of"),
    ("__ff1 + 1", "reserved"), ("left(s)", "left cannot take string"), ("pi(1)", "pi cannot take int64"),
    ("greatest()", "greatest takes 1 to 500"), ("x is 5", "is takes null, true or false"), ("x\0", "NUL"),
    ("(" * 33 + "x" + ")" * 33, "nested too deeply"), ("x" + " + x" * 101, "nested too deeply"),
    ("x" * 10_001, "too long"), ("b" + " or b" * 1999, "at most 2000"),
])
def test_what_is_wrong_is_named_with_its_mend(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text, COLUMNS, "feature crosswind")
    assert str(caught.value).startswith("feature crosswind: ")
    assert said in str(caught.value)


def test_columns_used_names_the_place_of_a_syntax_error() -> None:
    with pytest.raises(Invalid, match="check: 'x >' is not an SQL expression: it breaks at line 1, column 3"):
        columns_used("x >", "check")


_WORDS = ["i", "x", "b", "s", "t", "1", "0.5", "'a'", "null", "true", "(", ")", ",", "+", "-", "/", "//", "<>", "and",
          "or", "not", "is", "in", "between", "like", "escape", "case", "when", "then", "else", "end", "cast", "as",
          "int64", "::", "||", "abs(", "round(", "interval", "timestamp", "select", "distinct", "over", ".", "[", "]",
          "{", "}", ":", "?", "@", "->", ";", '"', "$", "^", "!", "--", "/*", "show", "create", "1e9", "é", "\n", "\\"]


@given(st.lists(st.sampled_from(_WORDS), max_size=9).map(" ".join) | st.text(max_size=30))
def test_any_text_is_an_expression_or_invalid(text: str) -> None:
    try:
        expression = parse(text, COLUMNS)
    except Invalid:
        return
    assert parse(expression.text, COLUMNS) == expression
    assert columns_used(text) == expression.columns
    assert callable(expression.function())


def test_long_chains_and_deep_nests_within_the_limits_work(evaluate, same) -> None:  # type: ignore[no-untyped-def]
    rows = [{"x": 0.5, "i": 3, "b": True}, {"x": None, "i": None, "b": None}]
    for text in ("x" + " + x" * 99, "i" + " * 1 - 1" * 49, "b" + " or b" * 499, "sqrt(" * 31 + "x" + ")" * 31,
                 "coalesce(nullif(" * 16 + "i % 7" + ", 9), 4)" * 16, "case when b then " * 31 + "x" + " end" * 31,
                 "case i " + " ".join(f"when {k} then {k}" for k in range(300)) + " end"):
        from_sql, from_row = evaluate(text, rows)
        assert all(map(same, from_sql, from_row)), text


def test_an_expression_can_be_pickled_and_still_compiles() -> None:
    expression = pickle.loads(pickle.dumps(parse("x * 2 + length(s)", COLUMNS)))
    assert expression.function()(1.5, "ab") == 5.0


def test_the_source_can_be_read() -> None:
    assert parse("i between 1 and 2 or s like 'a%'", COLUMNS).source() == '''\
k1 = like('a%', None, False)
# c1 is 'i'
# c2 is 's'
def row(c1, c2):
    t1 = 1
    t2 = 2
    t3 = between(c1, t1, t2)
    t4 = None if c2 is None else k1(c2) is not None
    t5 = True if t3 is True or t4 is True else None if t3 is None or t4 is None else False
    return t5
'''


def test_what_is_written_twice_is_computed_once() -> None:
    assert parse("sin(x) * sin(x)", COLUMNS).source().count("sin(c1)") == 1


def test_importing_the_language_does_not_import_sqlglot_or_duckdb() -> None:
    code = ("import sys, json; import fivefold.core.expressions; "
            "print(json.dumps([m for m in ('sqlglot', 'duckdb', 'pyarrow') if m in sys.modules]))")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == []
