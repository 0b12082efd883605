import datetime
from typing import Any

import duckdb
import pytest

from fivefold.core.expressions import parse
from fivefold.core.types import Type


@pytest.fixture
def connection() -> Any:
    with duckdb.connect(config={"threads": 1}) as opened:
        yield opened


def test_columns_can_be_replaced_by_other_sql(connection: Any) -> None:
    expression = parse('x + "wind dir" * 2', {"x": Type.FLOAT64, "wind dir": Type.INT64})
    sql = expression.sql({"x": "1.5 + 1", "wind dir": "f.d"})
    assert connection.sql(f"select {sql} from (select 3 as d) as f").fetchall() == [(8.5,)]


def test_replacing_a_column_again_and_again_does_not_blow_up() -> None:
    twice = parse("x * x + abs(x)", {"x": Type.FLOAT64})
    sql = '"x"'
    for _ in range(6):
        sql = twice.sql({"x": sql})
    assert len(sql) < 3**6 * 1000


def test_deep_nests_of_guards_grow_the_sql_linearly() -> None:
    lengths = [len(parse("sqrt(" * n + "x" + ")" * n, {"x": Type.FLOAT64}).sql()) for n in (10, 20, 30)]
    assert lengths[2] - lengths[1] < 1.2 * (lengths[1] - lengths[0])


@pytest.mark.parametrize("kind", list(Type))
def test_the_result_has_exactly_the_column_type(kind: Type, connection: Any) -> None:
    names = {Type.INT64: "BIGINT", Type.FLOAT64: "DOUBLE", Type.BOOL: "BOOLEAN", Type.STRING: "VARCHAR",
             Type.TIMESTAMP: "TIMESTAMP"}
    sql = parse("c", {"c": kind}).sql()
    assert connection.sql(f"select typeof({sql}) from (select null::{names[kind]} as c)").fetchall() == [(names[kind],)]


def test_the_sessions_time_zone_does_not_matter(connection: Any) -> None:
    connection.execute("set timezone = 'America/New_York'")
    instant = "timestamptz '2013-11-01 02:30:00+00'"
    sql = parse("date_trunc('day', t)", {"t": Type.TIMESTAMP}).sql({"t": instant})
    assert connection.sql(f"select {sql}").fetchall() == [(datetime.datetime(2013, 11, 1),)]


@pytest.mark.parametrize("setting", ["ieee_floating_point_ops = false", "error_on_division_by_zero = true",
                                     "integer_division = true", "disabled_optimizers = 'expression_rewriter'"])
def test_settings_of_the_connection_do_not_matter(setting: str, connection: Any) -> None:
    connection.execute(f"set {setting}")
    columns = {"i": Type.INT64, "x": Type.FLOAT64}
    for text in ("i / 0", "x / 0", "x % 0", "i // 0", "i % 0", "x // 0", "1 / (i - 5)", "x * 1e308", "pow(x - 2, -1)"):
        sql = parse(text, columns).sql()
        assert connection.sql(f"select {sql} from (select 5 as i, 2e0 as x)").fetchall() == [(None,)], text
    assert connection.sql(f"select {parse('i / 2', columns).sql()} from (select 5 as i)").fetchall() == [(2.5,)]


def test_no_row_raises_even_in_a_filter_over_many(connection: Any) -> None:
    connection.execute("create table t as select (r - 500)::bigint as i, r::varchar as s from range(1000) as f(r)")
    columns = {"i": Type.INT64, "s": Type.STRING}
    sql = parse("i // (i % 7) > 3 and ln(i) > 1 and cast(s as int64) % i = 0", columns).sql()
    (count,), = connection.sql(f"select count(*) from t where {sql}").fetchall()
    function = parse("i // (i % 7) > 3 and ln(i) > 1 and cast(s as int64) % i = 0", columns).function()
    assert count == sum(function(r - 500, str(r)) is True for r in range(1000)) > 0
