"""The table of semantics (docs/decisions/0003-expressions.md), case by case, in both compilations."""

from typing import Any

import pytest

MAX, MIN = 2**63 - 1, -2**63
HUGE, TINY = 1.7976931348623157e308, 5e-324
NAN, INF = float("nan"), float("inf")
NOON = 1_383_307_200_123_456  # 2013-11-01T12:00:00.123456Z, a Friday
EVE = -1  # 1969-12-31T23:59:59.999999Z, a Wednesday
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999

CASES: list[tuple[str, dict[str, Any], Any]] = [
    # literals
    ("1", {}, 1), ("-9223372036854775808", {}, MIN), ("1.5", {}, 1.5), ("1e3", {}, 1000.0), (".5", {}, 0.5),
    ("-0.0", {}, 0.0), ("5e-324", {}, TINY), ("0.1 + 0.2", {}, 0.30000000000000004), ("'it''s'", {}, "it's"),
    ("'a\\b'", {}, "a\\b"), ("true", {}, True), ("cast(null as float64)", {}, None), ("pi()", {}, 3.141592653589793),
    ("timestamp '2013-11-01T12:00:00.123456Z'", {}, NOON), ("timestamp '2013-11-01T14:00:00.123456+02:00'", {}, NOON),
    # columns: NaN, infinities and times out of range are null, and zero has no sign
    ("x", {"x": NAN}, None), ("x", {"x": INF}, None), ("x", {"x": -INF}, None), ("x", {"x": -0.0}, 0.0),
    ("x is null", {"x": NAN}, True), ("coalesce(x, 1.0)", {"x": INF}, 1.0), ("t", {"t": LAST}, LAST),
    ("t", {"t": LAST + 1}, None), ("t", {"t": FIRST}, FIRST), ("t is null", {"t": FIRST - 1}, True),
    # integer arithmetic: out of int64 is null
    ("i + j", {"i": 2, "j": 3}, 5), ("i + 1", {"i": MAX}, None), ("i - 1", {"i": MIN}, None), ("-i", {"i": MIN}, None),
    ("i * j", {"i": 3037000500, "j": 3037000500}, None), ("abs(i)", {"i": MIN}, None), ("abs(i)", {"i": -5}, 5),
    ("i + 1 - 1", {"i": MAX}, None), ("i + 1", {"i": None}, None), ("i * 0", {"i": None}, None),
    # float arithmetic: what is not finite is null, there and then
    ("x * 10", {"x": 1e308}, None), ("1 / (x * 10)", {"x": 1e308}, None), ("x - x", {"x": 1e308}, 0.0),
    ("x * y", {"x": TINY, "y": -0.1}, 0.0), ("x + 1", {"x": None}, None), ("x * y", {"x": 0.0, "y": -5.0}, 0.0),
    # an integer that meets a float becomes the nearest float
    ("i + x", {"i": 1, "x": 0.5}, 1.5), ("i + 0.0", {"i": 2**53 + 1}, 9007199254740992.0),
    ("i = 9007199254740992.0", {"i": 2**53 + 1}, True), ("i in (9007199254740992.0)", {"i": 2**53 + 1}, True),
    ("i = 9007199254740992", {"i": 2**53 + 1}, False),
    # / divides floats, // floors, % has the divisor's sign; by zero is null
    ("i / j", {"i": 7, "j": 2}, 3.5), ("i / 0", {"i": 7}, None), ("x / y", {"x": 0.0, "y": 0.0}, None),
    ("x / y", {"x": 1.0, "y": -0.0}, None), ("0 / x", {"x": -3.0}, 0.0), ("x / y", {"x": 1.0, "y": TINY}, None),
    ("i // j", {"i": 7, "j": 2}, 3), ("i // j", {"i": -7, "j": 2}, -4), ("i // j", {"i": 7, "j": -2}, -4),
    ("i // j", {"i": -7, "j": -2}, 3), ("i // 0", {"i": 1}, None), ("i // -1", {"i": MIN}, None),
    ("i % j", {"i": 7, "j": 3}, 1), ("i % j", {"i": -7, "j": 3}, 2), ("i % j", {"i": 7, "j": -3}, -2),
    ("i % j", {"i": -7, "j": -3}, -1), ("i % 0", {"i": 1}, None), ("i % -1", {"i": MIN}, 0),
    ("mod(i, 3)", {"i": -7}, 2),
    ("x // y", {"x": -7.5, "y": 2.0}, -4.0), ("x // y", {"x": 7.0, "y": 0.0}, None),
    ("x // y", {"x": 1.0, "y": 0.1}, 10.0),
    ("x % y", {"x": -7.5, "y": 2.0}, 0.5), ("x % y", {"x": 7.5, "y": -2.0}, -0.5),
    ("x % y", {"x": 1.0, "y": 0.0}, None),
    ("x % y", {"x": -4.0, "y": 2.0}, 0.0),
    # rounding: halves go away from zero
    ("round(x)", {"x": 0.5}, 1.0), ("round(x)", {"x": 2.5}, 3.0), ("round(x)", {"x": -2.5}, -3.0),
    ("round(x)", {"x": 0.49999999999999994}, 0.0), ("round(x)", {"x": -0.4}, 0.0), ("round(x, 2)", {"x": 2.675}, 2.68),
    ("round(x, 2)", {"x": 1.005}, 1.0), ("round(x, 2)", {"x": 1e300}, 1e300), ("round(x, -2)", {"x": 1250.0}, 1300.0),
    ("round(x, 2)", {"x": -1.125}, -1.13), ("round(i, 2)", {"i": 7}, 7), ("round(i)", {"i": MAX}, MAX),
    ("floor(x)", {"x": -1.5}, -2.0), ("ceil(x)", {"x": -0.5}, 0.0), ("trunc(x)", {"x": -1.5}, -1.0),
    ("floor(i)", {"i": 3}, 3), ("sign(x)", {"x": -0.0}, 0), ("sign(x)", {"x": -2.5}, -1), ("sign(i)", {"i": MAX}, 1),
    # functions: out of domain and overflow are null
    ("sqrt(x)", {"x": 2.0}, 1.4142135623730951), ("sqrt(x)", {"x": -1.0}, None), ("sqrt(i)", {"i": 9}, 3.0),
    ("cbrt(x)", {"x": -8.0}, -2.0), ("ln(x)", {"x": 0.0}, None), ("ln(x)", {"x": -1.0}, None),
    ("ln(x)", {"x": 1.0}, 0.0),
    ("log2(x)", {"x": 8.0}, 3.0), ("log10(x)", {"x": 1000.0}, 3.0), ("exp(x)", {"x": 710.0}, None),
    ("exp(x)", {"x": 0.0}, 1.0), ("exp(x)", {"x": -1000.0}, 0.0), ("pow(x, y)", {"x": 2.0, "y": 10.0}, 1024.0),
    ("pow(x, 0.5)", {"x": -1.0}, None), ("pow(x, -1)", {"x": 0.0}, None), ("pow(x, 0)", {"x": None}, None),
    ("pow(x, 0)", {"x": NAN}, None), ("power(x, 3)", {"x": -1e-200}, 0.0), ("pow(10, 309)", {}, None),
    ("asin(x)", {"x": 1.5}, None), ("acos(x)", {"x": 1.0}, 0.0),
    ("atan2(x, y)", {"x": -0.0, "y": -1.0}, 3.141592653589793),
    ("sin(radians(x))", {"x": 90.0}, 1.0), ("degrees(x)", {"x": 1e308}, None), ("tanh(x)", {"x": 1000.0}, 1.0),
    # comparisons and three-valued logic
    ("i < j", {"i": 1, "j": None}, None), ("i <> j", {"i": 1, "j": 2}, True), ("i != j", {"i": 1, "j": 1}, False),
    ("x > y", {"x": 1.0, "y": NAN}, None), ("x > y", {"x": INF, "y": 1.0}, None),
    ("b < c", {"b": False, "c": True}, True),
    ("b and c", {"b": False}, False), ("b and c", {"b": True}, None), ("b or c", {"b": True}, True),
    ("b or c", {"b": False}, None), ("not b", {}, None), ("not b", {"b": False}, True),
    ("b = c", {"b": True, "c": True}, True), ("s < u", {"s": "a", "u": "á"}, True),
    ("s < u", {"s": "\uffff", "u": "\U00010000"}, True), ("s = u", {"s": "é", "u": "e\u0301"}, False),
    ("t < w", {"t": EVE, "w": NOON}, True), ("i is null", {}, True), ("i is not null", {}, False),
    ("b is true", {}, False), ("b is not true", {}, True), ("b is false", {"b": False}, True),
    ("i is distinct from j", {"i": 1}, True), ("i is distinct from j", {}, False),
    ("i is not distinct from j", {}, True), ("x is distinct from y", {"x": NAN, "y": INF}, False),
    ("i between 1 and 3", {"i": 3}, True), ("i between j and 3", {"i": 5}, False),
    ("i between j and 3", {"i": 2}, None),
    ("i not between 1 and 3", {"i": 5}, True), ("i in (1, 2)", {"i": 2}, True), ("i in (1, 2)", {}, None),
    ("i not in (1, 2)", {"i": 3}, True), ("s in ('a', 'b')", {"s": "b"}, True), ("x in (0)", {"x": -0.0}, True),
    # choices
    ("case when b then 1 else 2 end", {}, 2), ("case when b then 1 end", {"b": False}, None),
    ("case i when 1 then 'one' when 2 then 'two' end", {"i": 2}, "two"),
    ("case i when 1 then 'one' else 'many' end", {}, "many"),
    ("case when b then 1 else 2.5 end", {"b": True}, 1.0), ("if(i > 0, 'up', 'down')", {"i": 1}, "up"),
    ("iif(i > 0, 'up')", {"i": 0}, None), ("coalesce(i, j, 7)", {}, 7), ("coalesce(i, x)", {"i": 2}, 2.0),
    ("ifnull(i, 0)", {}, 0), ("nullif(i, j)", {"i": 1, "j": 1}, None), ("nullif(i, j)", {"i": 1}, 1),
    ("nullif(x, 0)", {"x": -0.0}, None), ("greatest(i, j)", {"i": 1}, 1), ("greatest(i, j)", {}, None),
    ("least(i, j, 0)", {"i": -5, "j": 3}, -5), ("greatest(s, u)", {"s": "a", "u": "b"}, "b"),
    ("greatest(x, y)", {"x": NAN, "y": 1.0}, 1.0),
    # text: code points; ASCII cases; blanks only
    ("length(s)", {"s": "👨\u200d👩"}, 3), ("length(s)", {"s": "e\u0301"}, 2), ("lower(s)", {"s": "ÀB"}, "Àb"),
    ("upper(s)", {"s": "ßaé"}, "ßAé"), ("trim(s)", {"s": " \ta "}, "\ta"), ("ltrim(s, 'xy')", {"s": "yxax"}, "ax"),
    ("rtrim(s, u)", {"s": "aé", "u": "é"}, "a"), ("trim(s, '')", {"s": " a"}, " a"),
    ("left(s, 2)", {"s": "日本語"}, "日本"), ("left(s, -1)", {"s": "abc"}, "ab"),
    ("left(s, i)", {"s": "abc", "i": MAX}, "abc"),
    ("right(s, 2)", {"s": "abc"}, "bc"), ("right(s, -1)", {"s": "abc"}, "bc"), ("right(s, 0)", {"s": "abc"}, ""),
    ("right(s, i)", {"s": "abc", "i": MIN}, ""), ("substring(s, 2)", {"s": "abc"}, "bc"),
    ("substring(s, 2, 1)", {"s": "abc"}, "b"), ("substr(s, 0, 2)", {"s": "abc"}, "a"),
    ("substring(s, -1, 3)", {"s": "abc"}, "a"), ("substring(s, 2, -1)", {"s": "abc"}, ""),
    ("substring(s, i, j)", {"s": "abc", "i": MIN, "j": MAX}, ""), ("substring(s, 1, i)", {"s": "abc"}, None),
    ("replace(s, 'a', 'bb')", {"s": "aca"}, "bbcbb"), ("replace(s, '', 'x')", {"s": "ab"}, "ab"),
    ("s || u", {"s": "a"}, None), ("s || u || '!'", {"s": "a", "u": "b"}, "ab!"), ("concat(s, u)", {"s": "a"}, "a"),
    ("concat(s)", {}, ""), ("starts_with(s, 'a')", {"s": "abc"}, True), ("ends_with(s, '')", {"s": "abc"}, True),
    ("contains(s, u)", {"s": "abc", "u": "bc"}, True), ("strpos(s, 'b')", {"s": "éb"}, 2),
    ("strpos(s, 'x')", {"s": "a"}, 0),
    ("length(s)", {"s": "a\0b"}, 3), ("s like 'a_b'", {"s": "a\0b"}, True),
    # patterns
    ("s like 'a%'", {"s": "abc"}, True), ("s like 'A%'", {"s": "abc"}, False), ("s like '_'", {"s": "👨"}, True),
    ("s like 'a%c'", {"s": "a\nc"}, True), ("s like '%a%b%'", {"s": "ba"}, False), ("s like '\\'", {"s": "\\"}, True),
    ("s like '10!%' escape '!'", {"s": "10%"}, True), ("s like '10!%' escape '!'", {"s": "10x"}, False),
    ("s like '!!' escape '!'", {"s": "!"}, True), ("s not like 'a%'", {"s": "b"}, True), ("s like 'a'", {}, None),
    ("s ilike 'ÀB%'", {"s": "Àbc"}, True), ("s ilike 'À'", {"s": "à"}, False), ("s ilike 'k'", {"s": "\u212a"}, False),
    ("regexp_matches(s, 'b')", {"s": "abc"}, True), ("regexp_matches(s, '^b$')", {"s": "b\n"}, False),
    (r"regexp_matches(s, '^\d+$')", {"s": "\u0663"}, False), (r"regexp_matches(s, '\s')", {"s": "\v"}, False),
    ("regexp_matches(s, '^.$')", {"s": "é"}, True), ("regexp_matches(s, 'a.b')", {"s": "a\nb"}, False),
    (r"regexp_matches(s, '^[^a]$')", {"s": "\n"}, True), (r"regexp_matches(s, '\bb')", {"s": "éb"}, True),
    # casts: what cannot be converted is null
    ("cast(x as int64)", {"x": 2.5}, 3), ("cast(x as int64)", {"x": -2.5}, -3),
    ("cast(x as int64)", {"x": 2.0**63}, None),
    ("cast(x as int64)", {"x": -2.0**63}, MIN), ("cast(i as float64)", {"i": MAX}, 2.0**63),
    ("i::bool", {"i": 2}, True),
    ("cast(x as bool)", {"x": -0.0}, False), ("cast(b as int64)", {"b": True}, 1),
    ("cast(b as float64)", {"b": True}, 1.0),
    ("cast(b as string)", {"b": False}, "false"), ("cast(b as string)", {}, None),
    ("cast(i as string)", {"i": -7}, "-7"),
    ("cast(x as string)", {"x": 1e16}, "1e+16"), ("cast(x as string)", {"x": 1e15}, "1000000000000000.0"),
    ("cast(x as string)", {"x": 1e-5}, "1e-05"), ("cast(x as string)", {"x": -0.0}, "0.0"),
    ("cast(s as int64)", {"s": "+007"}, 7), ("cast(s as int64)", {"s": " 7"}, None),
    ("cast(s as int64)", {"s": "7.0"}, None),
    ("cast(s as int64)", {"s": "1_0"}, None), ("cast(s as int64)", {"s": "9223372036854775808"}, None),
    ("cast(s as int64)", {"s": "-9223372036854775808"}, MIN), ("cast(s as int64)", {"s": "0" * 5000 + "7"}, 7),
    ("cast(s as int64)", {"s": "9" * 5000}, None), ("cast(s as float64)", {"s": "1e3"}, 1000.0),
    ("cast(s as float64)", {"s": ".5"}, 0.5), ("cast(s as float64)", {"s": "5."}, 5.0),
    ("cast(s as float64)", {"s": "-0"}, 0.0),
    ("cast(s as float64)", {"s": "nan"}, None), ("cast(s as float64)", {"s": "1e999"}, None),
    ("cast(s as float64)", {"s": "1e-999"}, 0.0), ("cast(s as float64)", {"s": ""}, None),
    ("cast(s as bool)", {"s": "true"}, True), ("cast(s as bool)", {"s": "TRUE"}, None),
    ("cast(s as bool)", {"s": "1"}, None),
    # time, in UTC
    ("hour(t)", {"t": NOON}, 12), ("minute(t)", {"t": EVE}, 59), ("second(t)", {"t": EVE}, 59),
    ("hour(t)", {"t": EVE}, 23),
    ("dayofweek(t)", {"t": NOON}, 5), ("dayofweek(t)", {"t": 259_200_000_000}, 0),
    ("isodow(t)", {"t": 259_200_000_000}, 7),
    ("isodow(t)", {"t": EVE}, 3), ("day(t)", {"t": EVE}, 31), ("month(t)", {"t": NOON}, 11),
    ("quarter(t)", {"t": NOON}, 4),
    ("year(t)", {"t": EVE}, 1969), ("year(t)", {"t": FIRST}, 1), ("year(t)", {"t": LAST}, 9999),
    ("dayofyear(t)", {"t": NOON}, 305), ("epoch(t)", {"t": EVE}, -1e-06), ("epoch(t)", {"t": NOON}, 1383307200.123456),
    ("epoch_us(t)", {"t": NOON}, NOON), ("make_timestamp(i)", {"i": NOON}, NOON),
    ("make_timestamp(i)", {"i": MAX}, None),
    ("make_timestamp(epoch_us(t) + 1)", {"t": LAST}, None), ("seconds_between(t, w)", {"t": EVE, "w": 499_999}, 0.5),
    ("date_trunc('hour', t)", {"t": NOON}, 1_383_307_200_000_000),
    ("date_trunc('day', t)", {"t": EVE}, -86_400_000_000),
    ("date_trunc('week', t)", {"t": NOON}, 1_382_918_400_000_000), ("date_trunc('week', t)", {"t": FIRST}, FIRST),
    ("date_trunc('month', t)", {"t": NOON}, 1_383_264_000_000_000),
    ("date_trunc('quarter', t)", {"t": NOON}, 1_380_585_600_000_000),
    ("date_trunc('year', t)", {"t": EVE}, -31_536_000_000_000), ("date_trunc('minute', t)", {"t": EVE}, -60_000_000),
]


@pytest.mark.parametrize(("text", "row", "expected"), CASES)
def test_the_table_holds_in_both_compilations(text: str, row: dict[str, Any], expected: Any, evaluate: Any,
                                              same: Any) -> None:
    (from_sql,), (from_row,) = evaluate(text, [row])
    assert same(from_row, expected), f"the row function gives {from_row!r}"
    assert same(from_sql, expected), f"DuckDB gives {from_sql!r}"
