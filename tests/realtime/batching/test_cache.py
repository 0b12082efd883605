from __future__ import annotations

import json
from typing import Any

import pytest

from fivefold.realtime.batching.cache import ENTRY_BYTES, PredictionCache, digest, key_of


def made(cache: PredictionCache, keys: list[bytes], values: dict[bytes, Any]) -> list[Any]:
    return cache.through(keys, lambda places: [values[keys[i]] for i in places])


def test_a_hundred_of_the_same_are_computed_once() -> None:
    cache = PredictionCache(5)
    asked: list[list[int]] = []
    assert cache.through([b"k"] * 100, lambda places: asked.append(places) or [0.5]) == [0.5] * 100  # type: ignore[func-returns-value]
    assert asked == [[0]]
    assert (cache.misses, cache.shared, cache.hits) == (1, 99, 0)
    assert made(cache, [b"k"], {}) == [0.5]
    assert cache.hits == 1


def test_errors_are_shared_but_not_kept() -> None:
    cache = PredictionCache(5)
    error = ValueError("no")
    assert made(cache, [b"k", b"k"], {b"k": error}) == [error, error]
    assert made(cache, [b"k"], {b"k": 1.0}) == [1.0]


def test_a_prediction_is_forgotten_after_its_time_give_or_take() -> None:
    now = [100.0]
    for chance, life in ((0.0, 4.5), (1.0, 5.5)):
        cache = PredictionCache(5, clock=lambda: now[0], chance=lambda chance=chance: chance)
        made(cache, [b"k"], {b"k": 1.0})
        now[0] += life - 0.01
        assert made(cache, [b"k"], {b"k": 2.0}) == [1.0]
        now[0] += 0.02
        assert made(cache, [b"k"], {b"k": 2.0}) == [2.0]


def test_it_holds_no_more_than_it_may_and_forgets_what_was_used_longest_ago() -> None:
    cache = PredictionCache(5, most_bytes=3 * ENTRY_BYTES)
    for key in (b"a", b"b", b"c"):
        made(cache, [key], {key: 1.0})
    made(cache, [b"a"], {})
    made(cache, [b"d"], {b"d": 1.0})
    assert cache.bytes == 3 * ENTRY_BYTES
    assert made(cache, [b"a", b"b"], {b"b": 9.0}) == [1.0, 9.0]


@pytest.mark.parametrize(("one", "other"), [
    ([b"ab", b"c"], [b"a", b"bc"]), ([b"", b"x"], [b"x", b""]), ([b"x"], [b"x", b""]), ([b"a"], [b"a" * 2])])
def test_the_same_bytes_split_otherwise_are_another_key(one: list[bytes], other: list[bytes]) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(("one", "other"), [
    ((["ab", "c"], []), (["a", "bc"], [])), (([1], []), ([1.0], [])), (([0.0], []), ([-0.0], [])),
    (([None], []), (["None"], [])), (([True], []), ([1], [])), ((["a"], ["b"]), ([], ["a", "b"]))])
def test_values_that_are_not_the_same_have_other_keys(one: Any, other: Any) -> None:
    assert key_of(b"m", b"s", *one) != key_of(b"m", b"s", *other)


def test_a_cached_endpoint_answers_the_same_with_an_id_of_its_own_and_says_how_often(shop: Any, row: dict[str, Any]) -> None:
    shop.edit('ff.Endpoint("returned", returned)', 'ff.Endpoint("returned", returned, cache="1h")')
    with shop.app() as asker:
        cache = asker.live["returned"].cache
        first = asker.ask(row)[1]["rows"][0]
        again = asker.ask(row)[1]["rows"][0]
        assert (cache.hits, cache.misses) == (1, 1)
        assert first["id"] != again["id"]
        assert {**first, "id": ""} == {**again, "id": ""}
        asker.ask({"rows": [row, {**row, "amount": 3}, {**row, "amount": 3}, {**row, "amount": 13}]})
        assert (cache.hits, cache.misses, cache.shared) == (2, 2, 1)
        shop.another_version()
        asker.live["returned"].refresh()
        asker.ask(row)
        assert (cache.hits, cache.misses) == (2, 3), "another version is asked anew"
        shop.materialise(1_771_900_000_000_000)
        asker.ask(row)
        assert json.dumps(cache.counts())
