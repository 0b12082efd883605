from __future__ import annotations

import resource
import signal
import subprocess
import sys

import pytest

import fivefold as ff


def test_applying_twice_does_nothing_new(shop) -> None:  # type: ignore[no-untyped-def]
    first = shop.apply()
    second = shop.apply()
    assert first.changed
    assert not second.changed
    assert second.revision == first.revision
    assert [s.new_parts for s in second.sources] == [0]
    with shop.open() as w:
        assert len(w.catalog.snapshots.history("orders")) == 1


def test_new_data_makes_a_new_snapshot_and_nothing_else(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('"data/orders.csv"', '"data/*.csv"')
    shop.apply()
    (shop.root / "data" / "more.csv").write_text("order_id,customer_id,ordered_at,amount,returned\n"
                                                 "9001,c1,2026-09-01T00:00:00,5.0,true\n")
    (new,) = shop.plan().data
    assert (new.ref, new.new, new.gone) == ("table:orders", 1, 0)
    outcome = shop.apply()
    assert shop.plan().data == ()
    assert not outcome.changed
    assert [(s.parts, s.new_parts, s.rows) for s in outcome.sources] == [(2, 1, 601)]


def test_bad_data_changes_nothing(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('checks=[ff.typed(), ff.check("amount >= 0", on_fail="quarantine")]', 'checks=[ff.check("amount < 100")]')
    with pytest.raises(ff.Invalid, match="break the check 'amount < 100'"):
        shop.apply()
    with shop.open() as w:
        assert w.catalog.definitions.revision() == 0
        assert w.find_snapshot("orders") is None


def test_a_scale_is_chosen_once_and_kept(shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    with shop.open() as w:
        before = w.scales()
    assert before == {"orders": {"amount": 22}}
    # a value beyond what the scale has room for is set aside; the scale stays
    text = (shop.root / "data" / "orders.csv").read_text()
    (shop.root / "data" / "orders.csv").write_text(text + "9002,c1,2026-09-01T00:00:00,1e30,true\n")
    outcome = shop.apply()
    assert outcome.sources[0].quarantined == 1
    with shop.open() as w:
        assert w.scales() == before


def test_lineage_runs_from_columns_to_models(shop) -> None:  # type: ignore[no-untyped-def]
    from fivefold.catalog.lineage import Thing

    shop.edit("customer = ff.Entity", 'big = ff.View("big", "select amount * 2 as twice from orders")\ncustomer = ff.Entity')
    shop.apply()
    with shop.open() as w:
        down = {(e.to.kind, e.to.id) for e in w.catalog.lineage.downstream(Thing("column", "orders.amount"))}
        assert ("column", "big.twice") in down
        down = {(e.to.kind, e.to.id) for e in w.catalog.lineage.downstream(Thing("table", "orders"))}
        assert {("model", "returned"), ("endpoint", "returned")} <= down


def test_a_full_disk_is_said_and_leaves_the_catalog_as_it_was(shop) -> None:  # type: ignore[no-untyped-def]
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    shop.plan()  # the catalog is there already: only data is to be written
    done = subprocess.run([sys.executable, "-m", "fivefold.cli.main", "apply"], cwd=shop.root, preexec_fn=limited,
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: cannot write" in done.stderr or "disk" in done.stderr
    with shop.open() as w:
        assert w.catalog.definitions.revision() == 0
    assert shop.apply().sources[0].rows == 600
