"""The law of expressions: DuckDB's value and the row function's are the same, bit for bit, for every row."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from fivefold.core.expressions import parse
from fivefold.core.types import Type

I, F, B, S, T = Type.INT64, Type.FLOAT64, Type.BOOL, Type.STRING, Type.TIMESTAMP
COLUMNS = {I: "ij", F: "xy", B: "bc", S: "su", T: "tw"}
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999

INTS = [0, 1, -1, 2, 3, 7, -7, 10, 100, 2**31, -2**31, 2**32, 2**53, 2**53 + 1, -2**53 - 1, 2**62, 2**63 - 1, -2**63,
        3037000500, 9223372036854775806]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.1, 0.3, 3.0, 7.0, -7.0, 1e-5, 1e15, 1e16, 1e17, 123456.789,
          5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1e200, -1e200,
          1e-200, 0.49999999999999994, 4503599627370495.5, 4503599627370496.0, 9007199254740992.0, 9007199254740994.0,
          2.0**63, -2.0**63, 9223372036854774784.0, 709.782712893384, 709.79, -745.2, 2.675, 1.005, 180.0, 90.0,
          float("nan"), float("inf"), float("-inf")]
TEXTS = ["", " ", "a", "A", "b", "abc", "ABC", "aXbXc", " a ", "\ta\n", "a%b", "a_b", "a\\b", "%", "_", "é", "É",
         "e\u0301", "ß", "\u017f", "\u212a", "日本", "👨\u200d👩\u200d👧", "a\0b", "\0", "a\nb", "İi", "0", "1", "-1",
         "+5", "007", "1.5", ".5", "5.", "1e3", "1E400", "-0", "-0.0", "9223372036854775807", "9223372036854775808",
         "-9223372036854775808", "1_0", "\u0663", "nan", "inf", "true", "false", "TRUE", "\U0010ffff", "\uffff",
         "\ue000", "\v", "\u00a0a\u00a0", "x" * 40, "ab" * 20]
TIMES = [0, 1, -1, 999_999, -1_000_000, 86_400_000_000, -86_400_000_001, 1_383_287_400_123_456, FIRST, FIRST + 1, LAST,
         FIRST - 1, LAST + 1, 951_782_400_000_000, 1_709_164_800_000_000, -2_203_891_200_000_000]


def _table(seed: int, size: int = 160) -> list[dict[str, Any]]:
    choose = random.Random(seed)

    def one(kind: Type) -> Any:
        if choose.random() < 0.1:
            return None
        wild = choose.random() < 0.4
        match kind:
            case Type.INT64:
                return choose.choice([choose.randint(-100, 100), choose.randint(-2**63, 2**63 - 1)]) if wild \
                    else choose.choice(INTS)
            case Type.FLOAT64:
                return choose.choice([choose.uniform(-2, 2), choose.uniform(-1000, 1000),
                                      choose.uniform(-1, 1) * 10.0 ** choose.randint(-300, 300)]) if wild \
                    else choose.choice(FLOATS)
            case Type.BOOL:
                return choose.random() < 0.5
            case Type.STRING:
                return "".join(choose.choices("aAbBé%_1. \0-日👨\u200d", k=choose.randint(0, 6))) if wild \
                    else choose.choice(TEXTS)
        return choose.randint(FIRST, LAST) if wild else choose.choice(TIMES)

    return [{c: one(kind) for kind, pair in COLUMNS.items() for c in pair} for _ in range(size)]


# explaining a failure costs minutes here, for nothing that the message does not say
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
TABLES = [_table(seed) for seed in range(4)]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(kind: Type) -> st.SearchStrategy[str]:
    match kind:
        case Type.INT64:
            return st.one_of(st.sampled_from(INTS), st.integers(-9, 9)).map(str)
        case Type.FLOAT64:
            return st.sampled_from([repr(f) for f in FLOATS if abs(f) < 1e309])
        case Type.BOOL:
            return st.sampled_from(["true", "false"])
        case Type.STRING:
            return st.sampled_from([_quoted(s) for s in TEXTS if "\0" not in s])
    return st.sampled_from(["timestamp '2013-11-01T06:30:00Z'", "timestamp '0001-01-01'",
                            "timestamp '9999-12-31T23:59:59.999999'", "timestamp '1969-12-31T23:59:59'"])


# templates: what gives a type, from what; a capital letter is an argument of that type, N either number
_FORMS: dict[Type, list[str]] = {
    I: ["I + I", "I - I", "I * I", "I // I", "I % I", "-I", "abs(I)", "sign(N)", "floor(I)", "ceil(I)", "trunc(I)",
        "round(I)", "round(I, 2)", "cast(F as int64)", "cast(B as int64)", "cast(S as int64)", "cast(I as int64)",
        "length(S)", "strpos(S, S)", "second(T)", "minute(T)", "hour(T)", "dayofweek(T)", "isodow(T)", "day(T)",
        "month(T)", "quarter(T)", "year(T)", "dayofyear(T)", "epoch_us(T)"],
    F: ["F + F", "F - F", "F * F", "N / N", "F // F", "F % F", "I + F", "F - I", "I * F", "F // I", "I % F", "-F",
        "abs(F)", "floor(F)", "ceil(F)", "trunc(F)", "round(F)", "round(F, 2)", "round(F, 15)", "round(F, -1)",
        "round(F, -15)", "sqrt(N)", "cbrt(F)", "exp(N)", "ln(N)", "log2(N)", "log10(N)", "pow(N, N)", "sin(F)",
        "cos(F)", "tan(F)", "asin(F)", "acos(F)", "atan(F)", "atan2(N, N)", "tanh(F)", "radians(N)", "degrees(N)",
        "pi()", "cast(I as float64)", "cast(B as float64)", "cast(S as float64)", "epoch(T)",
        "seconds_between(T, T)"],
    B: ["N < N", "N <= N", "N > N", "N >= N", "N = N", "N <> N", "S < S", "S >= S", "S = S", "S <> S", "T < T",
        "T = T", "B = B", "B <> B", "B < B", "B and B", "B or B", "B and B and B", "B or B or B", "not B",
        "N is null", "S is null", "B is null", "T is not null", "B is true", "B is false", "B is not true",
        "N is distinct from N", "S is distinct from S", "B is not distinct from B", "N between N and N",
        "S between S and S", "T between T and T", "N not between N and N", "I in (0, 1, -7, 9007199254740993)",
        "I in (0.5, 9007199254740992.0)", "F in (0, 0.1, 7)", "S in ('a', '', 'é')", "S not in ('abc', 'A')",
        "B in (true)", "T in (timestamp '1970-01-01')", "S like 'a%'", "S like '%a'", "S like '%b%'",
        "S like 'a_b'", "S like '_'", "S like '%'", "S like ''", "S like 'a%b%c'", "S like '%!%%' escape '!'",
        "S not like '%a_%'", "S like 'É%'", "S ilike 'A%'", "S ilike '%ab%'", "S ilike 'É'", "S ilike 'k'",
        r"S like '\'", r"S like '%\_%'", "starts_with(S, S)", "ends_with(S, S)", "contains(S, S)",
        "regexp_matches(S, '^a')", "regexp_matches(S, '[A-Zé]+$')", r"regexp_matches(S, '^\d+(\.\d+)?$')",
        r"regexp_matches(S, '\s')", r"regexp_matches(S, '\bb')", "regexp_matches(S, 'a.b')",
        "regexp_matches(S, '^.$')", "regexp_matches(S, '(ab){2,3}')", "regexp_matches(S, 'a|b')",
        r"regexp_matches(S, '[^a\d]')", "regexp_matches(S, '')", "cast(N as bool)", "cast(S as bool)",
        "cast(B as bool)"],
    S: ["S || S", "S || S || S", "concat(S, S)", "concat(S)", "lower(S)", "upper(S)", "trim(S)", "ltrim(S)",
        "rtrim(S)", "trim(S, S)", "ltrim(S, S)", "rtrim(S, S)", "left(S, I)", "right(S, I)", "left(S, 2)",
        "right(S, 2)", "substring(S, I)", "substring(S, I, I)", "substring(S, 2, 1)", "replace(S, S, S)",
        "replace(S, 'a', 'é')", "cast(I as string)", "cast(F as string)", "cast(B as string)", "cast(S as string)"],
    T: ["make_timestamp(I)", "make_timestamp(epoch_us(T) + I)"]
       + [f"date_trunc('{u}', T)" for u in ("second", "minute", "hour", "day", "week", "month", "quarter", "year")],
}
_ANY = ["coalesce(Z, Z)", "coalesce(Z, Z, Z)", "nullif(Z, Z)", "greatest(Z, Z)", "least(Z, Z, Z)", "if(B, Z, Z)",
        "case when B then Z end", "case when B then Z when B then Z else Z end",
        "case S when S then Z when 'a' then Z end", "case N when N then Z else null end", "coalesce(null, Z)"]
_LETTERS = {"I": I, "F": F, "B": B, "S": S, "T": T}


@st.composite
def expressions(draw: st.DrawFn, kind: Type, depth: int) -> str:
    """The text of an expression of a type: every operation of the language can turn up anywhere."""
    if depth == 0 or draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.sampled_from(COLUMNS[kind]), st.sampled_from(COLUMNS[kind]), _literal(kind)))
    form = draw(st.sampled_from(_FORMS[kind] if draw(st.integers(0, 3)) else _ANY))

    def argument(sign: str) -> str:
        wanted = kind if sign == "Z" else draw(st.sampled_from([I, F])) if sign == "N" else _LETTERS[sign]
        return "(" + draw(expressions(wanted, depth - 1)) + ")"

    return _filled(form, argument)


def _filled(form: str, argument: Callable[[str], str]) -> str:
    """The form with each of its capital letters, outside quotes and words, replaced."""
    parts, inside = [], False
    for at, sign in enumerate(form):
        inside ^= sign == "'"
        alone = not inside and not (form[at - 1:at].isalnum() or form[at + 1:at + 2].isalnum())
        parts.append(argument(sign) if alone and sign in "IFBSTNZ" else sign)
    return "".join(parts)


def _check(text: str, evaluate: Any, same: Callable[[Any, Any], bool], rows: list[dict[str, Any]]) -> None:
    from_sql, from_row = evaluate(text, rows)
    for row, one, other in zip(rows, from_sql, from_row, strict=True):
        assert same(one, other), f"{text} is {one!r} in DuckDB and {other!r} in Python for {row}"


@pytest.mark.parametrize("number", [I, F], ids=str)
@pytest.mark.parametrize("form", [form for forms in _FORMS.values() for form in forms])
def test_each_operation_agrees_on_extremes(form: str, number: Type, evaluate: Any, same: Any) -> None:
    names = {sign: itertools.cycle(COLUMNS[kind]) for sign, kind in _LETTERS.items()}
    names["N"] = names["I" if number is I else "F"]
    text = _filled(form, lambda sign: next(names[sign]))
    for rows in TABLES:
        _check(text, evaluate, same, rows)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), phases=_PHASES)
@given(data=st.data())
def test_random_expressions_agree_bit_for_bit(data: st.DataObject, evaluate: Any, same: Any) -> None:
    kind = data.draw(st.sampled_from([I, F, F, B, S, T]))
    text = data.draw(expressions(kind, data.draw(st.integers(1, 4))))
    assume(len(text) < 10_000)
    _check(text, evaluate, same, data.draw(st.sampled_from(TABLES)))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), phases=_PHASES)
@given(data=st.data())
def test_the_canonical_text_means_the_same_and_is_its_own_canon(data: st.DataObject, schema: Any) -> None:
    text = data.draw(expressions(data.draw(st.sampled_from([I, F, B, S, T])), 3))
    once = parse(text, schema)
    assert parse(once.text, schema) == once
