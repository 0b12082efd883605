"""Airlines train together, as real processes: the coordinator is killed, two drop out, one lies; then it is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from fivefold.demo import federation
from fivefold.demo.federation import DROPPED, LIAR, MONTHS, Together, show_airlines, train_airlines
from fivefold.demo.flights import write_data


@pytest.mark.long
@pytest.mark.timeout(600)
def test_airlines_that_share_no_flight_train_a_model_that_passes_its_gate_and_is_served(tmp_path: Path) -> None:
    write_data(tmp_path / "data", MONTHS)
    made = train_airlines(tmp_path / "airlines", tmp_path / "data", [LIAR, *DROPPED, "UA", "B6", "WN"], lambda *of: None)
    assert made.airlines == 6
    assert (made.survivors[0], made.survivors[-1]) == (6, 4)
    assert len(made.survivors) == made.rounds + 3 == 11
    assert 2.5 < made.epsilon <= made.budget == 3
    assert made.champion
    assert made.same_bits
    assert 0 < made.served < 1
    # what the coordinator knows of the quality is what there is to know, but for cells and noise
    assert made.told_auc == pytest.approx(made.auc["together"], abs=0.02)
    assert made.auc["together"] > made.auc["all flights in one place"] - 0.04
    # none of an airline's flights is at the hub
    hub = b"".join(p.read_bytes() for p in (tmp_path / "airlines" / "hub").rglob("*") if p.is_file())
    lines = (tmp_path / "airlines" / "HA" / "data" / "flights" / "2013.csv").read_bytes().splitlines()[1:]
    assert lines
    assert not any(line in hub for line in lines)


def test_done_again_of_the_same_flights_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(tmp_path / "data", MONTHS)
    trained: list[Path] = []

    def train(folder: Path, *rest: object) -> Together:
        trained.append(folder)
        return Together(16, 10, 5, {"together": 0.8}, 0.8, 8, 1, [16, 14], 10, 20, 2.9, 3.0, [], 1, True, 0.5, True, 1.0)

    monkeypatch.setattr(federation, "train_airlines", train)
    first = show_airlines(tmp_path)
    assert show_airlines(tmp_path) == first
    assert len(trained) == 1
    assert "nothing new" in capsys.readouterr().out
    weather = tmp_path / "data" / "weather.csv"
    weather.write_text(weather.read_text() + "\n")
    assert show_airlines(tmp_path).inputs != first.inputs
    assert len(trained) == 2
