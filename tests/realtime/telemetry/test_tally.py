"""What is counted while requests are answered."""

from __future__ import annotations

import threading

from fivefold.realtime.telemetry.tally import LATENCIES, MOST_PATTERNS, Histogram, Tallies, Tally


def test_a_value_at_a_bound_is_within_it_and_the_last_count_is_of_what_is_above() -> None:
    made = Histogram((10, 20))
    for value in (0, 10, 11, 20, 21, 1000):
        made.add(value)
    assert (made.counts, made.total) == ([2, 2, 2], 1062)


def test_requests_are_told_apart_by_how_many_rows_failed() -> None:
    tally = Tally()
    tally.add(100_000, 3, 0, [["present"]] * 3)
    tally.add(100_001, 3, 2, [["null"]])
    tally.add(10**12, 3, 3, [])
    assert tally.outcomes == [1, 1, 1]
    assert (tally.rows, tally.rows_failed) == (9, 5)
    assert (tally.latency.counts[0], tally.latency.counts[1], tally.latency.counts[-1]) == (1, 1, 1)
    assert len(tally.latency.counts) == len(LATENCIES) + 1
    assert tally.features() == [{"present": 3, "null": 1}]


def test_statuses_are_counted_by_feature_however_many_patterns_there_are() -> None:
    tally = Tally()
    statuses = ["present", "null", "absent", "expired"]
    for i in range(1000):
        tally.add(1, 1, 0, [[statuses[(i >> (2 * k)) % 4] for k in range(5)]])
        assert len(tally._patterns) <= MOST_PATTERNS
    for place in tally.features():
        assert sum(place.values()) == 1000
    assert tally.features()[0] == dict.fromkeys(statuses, 250)


def test_no_request_of_several_threads_is_lost() -> None:
    tallies = Tallies()

    def work() -> None:
        for _ in range(2000):
            tallies.of(1, ["a"]).add(5, 1, 0, [["present"]])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ((version, tally, names),) = tallies.all()
    assert (version, list(names), tally.rows, tally.features()) == (1, ["a"], 8000, [{"present": 8000}])
