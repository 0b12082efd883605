from fivefold.core.lineage import Column, column_lineage, row_wise, tables_used
from fivefold.core.types import Type

SCHEMAS = {"raw": {"a": Type.INT64, "b": Type.FLOAT64, "k": Type.STRING}, "dim": {"k": Type.STRING, "c": Type.FLOAT64}}


def test_lineage_follows_columns_through_joins_stars_and_with() -> None:
    sql = "with w as (select k, sum(b) as total from raw group by k) select w.total + d.c as x, w.k from w join dim d using (k)"
    assert column_lineage(sql, SCHEMAS)["x"] == {Column("raw", "b"), Column("dim", "c")}
    assert column_lineage("select * from raw", SCHEMAS)["b"] == {Column("raw", "b")}
    assert tables_used(sql) == ("raw", "dim")


def test_only_a_select_that_treats_each_row_alone_is_row_wise() -> None:
    assert row_wise("select r.a + 1 as x, d.c from raw r left join dim d on r.k = d.k where a > 0") == "raw"
    for sql in ("select sum(a) from raw", "select a from raw order by a", "select distinct a from raw",
                "select a, row_number() over (order by a) from raw", "select a from raw union all select a from raw",
                "select a from (select a from raw)", "select x.a from raw x join raw y on x.a = y.a",
                "select d.c from raw right join dim d on raw.k = d.k", "select a from raw limit 5",
                "select a from raw where a > (select avg(a) from raw)"):
        assert row_wise(sql) is None, sql
