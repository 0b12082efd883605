from fivefold.core.types import Type
from fivefold.data.infer import propose
from fivefold.data.snapshots import ColumnProfile, Part, Snapshot, combine

SCHEMA = {"id": Type.INT64, "x": Type.FLOAT64, "s": Type.STRING, "t": Type.TIMESTAMP}


def part(**profile: ColumnProfile) -> Part:
    return Part("p", "f", "d", 100, profile=profile)


def test_proposed_checks_hold_for_the_data_with_room_to_spare() -> None:
    made = Snapshot("t", SCHEMA, (part(
        id=ColumnProfile(0, "1", "100", 100.0, 100), x=ColumnProfile(10, "-5.0", "5.0", 5.0, 90),
        s=ColumnProfile(0, "a", "b", None, 2), t=ColumnProfile(100, None, None, None, 0)),))
    lines = propose(made, {"s": ["a", "b"]})
    assert 'ff.not_null(\'id\'),' in lines
    assert 'ff.between(\'id\', 0, 110, on_fail="quarantine"),' in lines
    assert 'ff.not_null(\'x\', at_most=0.16, on_fail="warn"),' in lines
    assert 'ff.between(\'x\', -6, 6, on_fail="quarantine"),' in lines
    assert 'ff.one_of(\'s\', [\'a\', \'b\'], on_fail="warn"),' in lines
    assert not any("'t'" in line for line in lines)


def test_profiles_of_parts_combine() -> None:
    both = combine([{"x": ColumnProfile(1, "-10.0", "2.0", 10.0, 5)}, {"x": ColumnProfile(2, "9.0", "10.5", 10.5, 7)}],
                   {"x": Type.FLOAT64})
    assert both["x"] == ColumnProfile(3, "-10.0", "10.5", 10.5, 7)


def test_the_proposal_is_python_that_holds(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from fivefold.demo.start import start
    from fivefold.mlops import plan as plans
    from fivefold.mlops.apply import apply
    from fivefold.mlops.listing import proposed_checks
    from fivefold.workspace import open_workspace

    start(tmp_path / "p", "blank")
    with open_workspace(tmp_path / "p") as w:
        apply(w, plans.check(w), plans.plan(w))
        lines = proposed_checks(w, "orders")
    project = tmp_path / "p" / "project.py"
    project.write_text(project.read_text().replace("checks=[", "checks=[" + " ".join(lines)))
    with open_workspace(tmp_path / "p") as w:
        outcome = apply(w, plans.check(w), plans.plan(w))
    assert outcome.sources[0].quarantined == 0
    assert not outcome.sources[0].warnings
