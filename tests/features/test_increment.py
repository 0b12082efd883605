"""New parts of a source added to states, cut short anywhere, are what history says of the rows that are in."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.errors import Conflict, FivefoldError, Invalid
from fivefold.core.types import Type
from fivefold.features import increment
from fivefold.features import materialise as making
from fivefold.features.asof import as_of
from fivefold.features.increment import Part, Parts
from fivefold.features.lookup import Lookup
from fivefold.features.materialise import Materialised, materialise, view_plan
from fivefold.features.state.mark import mark_of
from fivefold.ports.online import OnlineStore, Write

T, HOUR = 1_700_000_000_000_000, 3_600_000_000
SCHEMA = {"who": Type.STRING, "at": Type.TIMESTAMP, "v": Type.FLOAT64, "n": Type.INT64, "row_id": Type.STRING}
ARROW = pa.schema([("who", pa.string()), ("at", pa.timestamp("us")), ("v", pa.float64()), ("n", pa.int64()),
                   ("row_id", pa.string())])
PEOPLE = ["a", "b", "c"]

Row = tuple[str | None, int, float | None, int | None, str | None]


class Died(Exception):
    """The process was killed here."""


class Mortal:
    """A store that dies before, or right after, its n-th commit."""

    def __init__(self, store: OnlineStore, commits: int, *, after: bool = False) -> None:
        self._store, self._left, self._after = store, commits, after

    def commit(self, writes: list[Write]) -> None:
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Died
        self._store.commit(writes)
        if self._left < 0:
            raise Died

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Bench:
    """A view over parts in files, and its look-ups beside history."""

    def __init__(self, folder: Path, *, identity: bool = False) -> None:
        self.folder = folder
        self.store: Any = connect(OnlineStore, "memory:")
        self.source = ff.Table("orders", "orders.csv", time="at", id="row_id" if identity else None)
        self.view = ff.FeatureView("spending", ff.Entity("customer", key="who"), self.source, [
            ff.count(), ff.count(over="3h", name="n_3h"), ff.sum("v", over="5h"), ff.last("n"), ff.max("v"),
            ff.distinct("n", over="2h"), ff.mean("v", over="4h", hop="1h")])
        self.model = ff.Model("m", ff.Target(self.source, "n"), learner=ff.learner("logistic"), split=ff.RandomSplit(),
                              features=[self.view])
        self.snapshots: dict[str, list[Part]] = {}
        self.rows: dict[str, pa.Table] = {}

    def part(self, rows: list[Row]) -> Part:
        columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[]] * len(SCHEMA)
        table = pa.table([pa.array(c, f.type) for c, f in zip(columns, ARROW, strict=True)], schema=ARROW)
        name = f"d{abs(hash(tuple(rows)))}"
        pq.write_table(table, self.folder / f"{name}.parquet")
        self.rows[name] = table
        return Part(name, len(rows), self.folder / f"{name}.parquet")

    def bring(self, parts: list[Part], *, at: int = T, store: Any = None, memory: int = making.MEMORY) -> Materialised:
        snapshot = "s:" + ",".join(p.digest for p in parts)
        self.snapshots[snapshot] = parts
        with duckdb.connect() as connection:
            connection.execute("set timezone = 'UTC'")
            connection.register("nothing", ARROW.empty_table())
            files = ", ".join(f"'{p.file}'" for p in parts)
            return materialise(
                connection, store or self.store, "spending@1", self.view, at=at, meaning="m", snapshot=snapshot,
                schemas={"orders": SCHEMA}, scales={"orders": {"v": 20}}, memory=memory,
                relation=lambda _: f"read_parquet([{files}])" if parts else "nothing",
                parts=Parts(parts, lambda digest: [p.digest for p in self.snapshots[digest]]))

    def check(self) -> None:
        """What is looked up is what history says of the rows that the mark says are in."""
        mark = mark_of(self.store, "spending@1")
        if mark is None:
            return
        lookup = Lookup(self.model, {"orders": SCHEMA}, {"orders": {"v": 20}}, lambda v: f"{v.name}@1")
        for at in (mark.since, mark.since + HOUR // 2, mark.since + 4 * HOUR):
            found = lookup.vectors(self.store, [{"who": w} for w in PEOPLE], at)
            pending = dict(found[0].seen["spending"].pending)  # type: ignore[union-attr]
            tables = [self.rows[p.digest][: pending.get(i, p.rows)]
                      for i, p in enumerate(self.snapshots[found[0].seen["spending"].snapshot])]  # type: ignore[union-attr]
            spine = pa.table({"who": PEOPLE, "asked": pa.array([at] * len(PEOPLE), pa.int64())})
            with duckdb.connect() as connection:
                connection.execute("set timezone = 'UTC'")
                connection.register("rows_seen", pa.concat_tables([ARROW.empty_table(), *tables]))
                plan = view_plan(self.view, {"orders": SCHEMA}, {"orders": {"v": 20}}, lambda _: "rows_seen")
                past = as_of(spine, "asked", [plan], connection=connection)
            for name in lookup.names:
                values = []
                for vector in found:
                    assert not isinstance(vector, FivefoldError)
                    values.append(vector.values[lookup.names.index(name)])
                assert list(map(bits, values)) == list(map(bits, past[name].to_pylist())), (name, at - T)

    def entities(self) -> int:
        mark = mark_of(self.store, "spending@1")
        assert mark is not None
        return mark.entities


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


ROWS = st.lists(st.tuples(
    st.sampled_from([*PEOPLE, None]), st.integers(-9, 5).map(lambda h: T + h * HOUR // 2),
    st.sampled_from([None, 0.1, 2.5, -1.0]), st.sampled_from([None, 1, 2]), st.sampled_from([None, *"pqrstu"])),
    max_size=9)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.booleans())
def test_whatever_is_added_removed_or_cut_short_look_ups_are_history(data: st.DataObject, identity: bool) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(increment, "ROWS", 3)
        patch.setattr(making, "COMMIT", 2)
        bench = Bench(Path(folder), identity=identity)
        parts = [bench.part(data.draw(ROWS))]
        at = T
        for _ in range(data.draw(st.integers(1, 5))):
            dies = data.draw(st.one_of(st.none(), st.integers(0, 6)))
            if dies is None:
                bench.bring(parts, at=at)
                assert not bench.bring(parts, at=at).new
            else:
                try:
                    bench.bring(parts, at=at, store=Mortal(bench.store, dies, after=data.draw(st.booleans())))
                except Died:
                    bench.check()
            bench.check()
            change = data.draw(st.sampled_from(["append", "append", "append", "insert", "remove", "same", "swap"]))
            place = data.draw(st.integers(0, len(parts)))
            if change == "append":
                parts = [*parts, bench.part(data.draw(ROWS))]
            elif change == "insert":
                parts = [*parts[:place], bench.part(data.draw(ROWS)), *parts[place:]]
            elif change == "remove":
                parts = [*parts[:place], *parts[place + 1 :]]
            elif change == "swap":
                parts = parts[::-1]
            at += data.draw(st.sampled_from([0, 0, HOUR // 2, -HOUR]))
        bench.bring(parts, at=at)
        bench.check()
        mark = mark_of(bench.store, "spending@1")
        assert mark is not None
        assert mark.pending == ()
        assert len([s for s in bench.store.spaces() if "~" in s]) == 1, "no generation is left behind"


def rows(who: str, count: int, start: int = -8) -> list[Row]:
    return [(who, T + (start + i) * HOUR // 4, float(i), i, f"{who}{start + i}") for i in range(count)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_new_part_touches_only_its_own_entities(bench: Bench) -> None:
    old = [bench.part(rows("a", 20)), bench.part(rows("b", 20))]
    bench.bring(old)
    before = mark_of(bench.store, "spending@1")
    seen: list[bytes] = []

    class Watched(Mortal):
        def commit(self, writes: list[Write]) -> None:
            seen.extend(key for w in writes for key, _ in w.items)
            super().commit(writes)

    made = bench.bring([*old, bench.part(rows("c", 3))], store=Watched(bench.store, 99))
    assert (made.new, made.entities, len(seen)) == (True, 3, 1)
    after = mark_of(bench.store, "spending@1")
    assert before is not None
    assert after is not None
    assert after.made_of == before.made_of, "it is the same generation"
    bench.check()


def test_a_part_cut_short_goes_on_behind_the_rows_that_are_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(increment, "ROWS", 4)
    old, new = [bench.part(rows("a", 40))], bench.part(rows("b", 10))
    bench.bring(old)
    with pytest.raises(Died):
        bench.bring([*old, new], store=Mortal(bench.store, 2))
    mark = mark_of(bench.store, "spending@1")
    assert mark is not None
    assert mark.pending == ((1, 8),)
    bench.check()
    steps: list[tuple[int, int]] = []
    with duckdb.connect() as connection:
        materialise(connection, bench.store, "spending@1", bench.view, at=T, meaning="m", snapshot=mark.snapshot,
                    schemas={"orders": SCHEMA}, scales={"orders": {"v": 20}}, relation=lambda _: "not read",
                    parts=Parts([*old, new], lambda d: [p.digest for p in bench.snapshots[d]]),
                    progress=lambda _, done, of: steps.append((done, of)))
    assert steps == [(1, 1)], "two rows were missing"
    bench.check()


def test_a_build_cut_short_goes_on_with_the_part_of_entities_it_was_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [bench.part([(f"p{n}", T - HOUR, 1.0, 1, None) for n in range(20_000)])]
    memory = 1 << 20
    counted: list[int] = []
    inner = making.applied
    monkeypatch.setattr(making, "applied", lambda *given: counted.append(1) or inner(*given))  # type: ignore[func-returns-value]
    whole = Bench(bench.folder)
    whole.bring(many, memory=memory)
    parts = len(counted)
    assert parts > 4
    counted.clear()
    with pytest.raises(Died):
        bench.bring(many, store=Mortal(bench.store, 3), memory=memory)
    assert mark_of(bench.store, "spending@1") is None, "nobody sees half of it"
    bench.bring(many, memory=memory)
    assert len(counted) == 4 + parts - 3
    assert bench.entities() == 20_000
    space = next(s for s in bench.store.spaces() if "~" in s)
    assert list(bench.store.scan(space)) == list(whole.store.scan(space))


def test_two_at_once_end_with_one_whole_view(bench: Bench) -> None:
    old, new = [bench.part(rows("a", 20))], bench.part(rows("b", 5))
    bench.bring(old)

    class Raced(Mortal):
        def commit(self, writes: list[Write]) -> None:
            if self._left == 99:
                self._left -= 1
                bench.bring([*old, new])  # the other one is faster
            super().commit(writes)

    assert bench.bring([*old, new], store=Raced(bench.store, 99)) == Materialised("spending", 2, T, new=False)
    bench.check()


def test_one_that_is_never_first_gives_up_and_says_so(bench: Bench) -> None:
    class Late(Mortal):
        def commit(self, writes: list[Write]) -> None:
            raise Conflict("another writer was faster.")

    with pytest.raises(Conflict, match="materialised by others all the time"):
        bench.bring([bench.part(rows("a", 2))], store=Late(bench.store, 0))


def test_a_duplicate_of_a_row_that_is_in_counts_once_wherever_it_stands(tmp_path: Path) -> None:
    bench = Bench(tmp_path, identity=True)
    a, b = bench.part(rows("a", 20)), bench.part([*rows("b", 9, start=0), *rows("a", 2, start=-4)])
    bench.bring([a])
    generation = mark_of(bench.store, "spending@1")
    bench.bring([a, b])
    bench.check()
    after = mark_of(bench.store, "spending@1")
    assert generation is not None
    assert after is not None
    assert after.made_of == generation.made_of
    # before the rows that are in, the new one is the first: the states are made anew
    c = bench.part([("c", T - HOUR, 7.0, 7, "a-4"), *rows("c", 3)])
    bench.bring([c, a, b])
    bench.check()
    last = mark_of(bench.store, "spending@1")
    assert last is not None
    assert last.made_of != generation.made_of


def test_an_earlier_moment_than_states_answer_for_makes_them_anew(bench: Bench) -> None:
    parts = [bench.part(rows("a", 20))]
    bench.bring(parts)
    with pytest.raises(Invalid, match="answers for"):
        Lookup(bench.model, {"orders": SCHEMA}, {"orders": {"v": 20}}, lambda v: f"{v.name}@1").vectors(
            bench.store, [{"who": "a"}], T - HOUR)
    assert bench.bring(parts, at=T - HOUR).new
    bench.check()
