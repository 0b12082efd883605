from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.materialise import Cut, Materialised, materialise
from fivefold.features.state.mark import mark_of, past_space
from fivefold.ports.online import OnlineStore

T = 1_700_000_000_000_000
SCHEMAS = {"orders": {"who": Type.STRING, "at": Type.TIMESTAMP, "v": Type.FLOAT64, "rate": Type.FLOAT64}}
ORDERS = ff.Table("orders", "orders.csv", time="at")
VIEW = ff.FeatureView("spending", ff.Entity("customer", key="who"), ORDERS, [ff.count(over="1h"), ff.sum("v")])


class Bench:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.store = connect(OnlineStore, "memory:")
        self.rows([("a", T - 10, 1.0), ("b", T - 20, 2.0), (None, T - 5, 3.0), ("late", T + 10, 4.0)])

    def rows(self, rows: list[tuple[str | None, int, float]]) -> None:
        who, at, v = zip(*rows, strict=True) if rows else ((), (), ())
        self.connection.register("orders", pa.table({
            "who": pa.array(who, pa.string()), "at": pa.array(at, pa.int64()).cast(pa.timestamp("us")),
            "v": pa.array(v, pa.float64()), "rate": pa.array(v, pa.float64())}))

    def make(self, name: str = "spending@1", view: ff.FeatureView = VIEW, *, at: int = T, meaning: str = "m",
             snapshot: str = "s", scale: int = 20) -> Materialised:
        return materialise(self.connection, self.store, name, view, at=at, meaning=meaning, snapshot=snapshot,
                           schemas=SCHEMAS, scales={"orders": {"v": scale}}, relation=lambda _: "orders")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        yield Bench(connection)


def test_every_entity_with_rows_is_stored_with_the_mark(bench: Bench) -> None:
    # also one whose rows lie after the moment: a later look-up sees them
    assert bench.make() == Materialised("spending", 3, T, new=True)
    mark = mark_of(bench.store, "spending@1")
    assert mark is not None
    assert (mark.since, mark.snapshot, mark.entities, mark.stream, mark.cut) == (T, "s", 3, "", {})


def test_the_rows_of_tiles_are_not_counted_as_entities(bench: Bench) -> None:
    bench.rows([(who, T - 10 * i, 1.0) for who in ("a", "b") for i in range(1, 2000)])
    assert bench.make() == Materialised("spending", 2, T, new=True)
    mark = mark_of(bench.store, "spending@1")
    assert mark is not None
    assert len(list(bench.store.scan(past_space("spending@1", mark)))) > 2


def test_the_cut_of_a_stream_is_in_the_mark_and_another_one_makes_it_anew(bench: Bench) -> None:
    cuts = [Cut("clicks", {0: 7, 1: -1}), Cut("clicks", {0: 8, 1: -1})]
    made = [materialise(bench.connection, bench.store, "spending@1", VIEW, at=T, meaning="m", snapshot="s",
                        schemas=SCHEMAS, scales={"orders": {"v": 20}}, relation=lambda _: "orders", cut=cut).new
            for cut in (cuts[0], cuts[0], cuts[1])]
    assert made == [True, False, True]
    mark = mark_of(bench.store, "spending@1")
    assert mark is not None
    assert (mark.stream, mark.cut) == ("clicks", {0: 8, 1: -1})


def test_the_same_again_does_nothing(bench: Bench) -> None:
    bench.make()
    held = mark_of(bench.store, "spending@1")
    bench.rows([])  # what it would be made of is not even looked at
    assert bench.make() == Materialised("spending", 3, T, new=False)
    assert mark_of(bench.store, "spending@1") == held


@pytest.mark.parametrize("change", [{"at": T + 1}, {"meaning": "n"}, {"snapshot": "t"}, {"scale": 21}])
def test_another_moment_meaning_snapshot_or_scale_makes_it_anew(bench: Bench, change: dict[str, int]) -> None:
    bench.make()
    assert bench.make(**change).new  # type: ignore[arg-type]


def test_a_source_without_rows_makes_an_empty_view_that_is_known_to_be_made(bench: Bench) -> None:
    bench.rows([])
    assert bench.make() == Materialised("spending", 0, T, new=True)
    assert mark_of(bench.store, "spending@1") is not None
    assert not bench.make().new


def test_an_entity_keyed_by_a_float_is_refused_by_name(bench: Bench) -> None:
    view = ff.FeatureView("by_rate", ff.Entity("rate", key="rate"), ORDERS, [ff.count()])
    with pytest.raises(Invalid, match=r"key 'rate' is float64 .*accepted: the same of int64, string, bool, timestamp"):
        bench.make("by_rate@1", view)
    assert bench.store.spaces() == []
