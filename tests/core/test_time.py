import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.time import DAY, HOUR, MINUTE, duration, instant, iso, spell, to_micros


@pytest.mark.parametrize(("text", "micros"), [("90s", 90_000_000), ("1h30m", HOUR + 30 * MINUTE), ("7d", 7 * DAY),
                                              ("20ms", 20_000), ("2w", 14 * DAY), ("1.5h", 90 * MINUTE), (" 1H ", HOUR)])
def test_durations(text: str, micros: int) -> None:
    assert duration(text) == micros


@pytest.mark.parametrize("text", ["", "h", "5", "-1h", "0s", "1 year", "1h nonsense", "0.1us"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Invalid, match="over: .*"):
        duration(text, "over")


@given(st.integers(1, 10**15))
def test_a_spelled_duration_reads_back(micros: int) -> None:
    assert duration(spell(micros)) == micros


def test_instants_are_utc_unless_they_say_otherwise() -> None:
    assert iso(instant("2013-11-01")) == "2013-11-01T00:00:00Z"
    assert iso(instant("2013-11-01T06:30:00+02:00")) == "2013-11-01T04:30:00Z"
    with pytest.raises(Invalid, match="--at: 'yesterday' is not a date"):
        instant("yesterday", "--at")


@given(st.datetimes(timezones=st.just(datetime.UTC)))
def test_instants_keep_every_microsecond(moment: datetime.datetime) -> None:
    assert instant(iso(to_micros(moment))) == to_micros(moment)
