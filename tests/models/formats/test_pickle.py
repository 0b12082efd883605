from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pickled_models as of
import pytest

from fivefold.core.errors import Invalid, Unavailable
from fivefold.models.fitted import Predict
from fivefold.models.formats import pickle

X = np.arange(12.0).reshape(6, 2)


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Predict]:
    def load(model: Any, patience: float = 30.0) -> Predict:
        pickle.save(model, tmp_path, "regression")
        return pickle.load(tmp_path, "regression", patience=patience)

    return load


def test_a_model_answers_from_another_process(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.WhoAmI())
    there = int(predict(X)[0])
    assert there != os.getpid()
    assert int(predict(X)[0]) == there


def test_numbers_cross_the_pipe_bit_by_bit(loaded: Callable[..., Predict]) -> None:
    odd = np.array([[np.nan, np.inf], [-0.0, 5e-324], [1e308, -1 / 3]])
    assert np.array_equal(loaded(of.First())(odd).view(np.uint64), odd[:, 0].copy().view(np.uint64))
    assert np.array_equal(loaded(of.Both())(odd), odd, equal_nan=True)


def test_more_rows_than_a_pipe_holds_go_through(loaded: Callable[..., Predict]) -> None:
    many = np.random.default_rng(0).normal(size=(200_000, 4))
    assert np.array_equal(loaded(of.Both())(many), many)


def test_an_error_of_the_model_is_told_and_the_next_call_works(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.Picky())
    with pytest.raises(Invalid, match="the pickled model failed: ValueError: I take no negative numbers"):
        predict(-X)
    assert np.array_equal(predict(X), X[:, 0])


def test_a_model_that_cannot_be_loaded_says_why(loaded: Callable[..., Predict]) -> None:
    with pytest.raises(Invalid, match="the pickled model failed: ZeroDivisionError"):
        loaded(of.Broken())


def test_a_model_that_hangs_is_ended_and_the_next_call_starts_anew(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.Sleepy(), patience=3.0)
    with pytest.raises(Unavailable, match=r"sent no answer within 3 s.*The next call starts a new one"):
        predict(-X)
    assert np.array_equal(predict(X), X[:, 0])


def test_a_model_that_hangs_while_it_is_loaded_is_ended(loaded: Callable[..., Predict]) -> None:
    with pytest.raises(Unavailable, match="within 1 s"):
        loaded(of.SlowToLoad(), patience=1.0)


def test_a_worker_that_was_killed_is_started_again(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.WhoAmI())
    first = int(predict(X)[0])
    os.kill(first, signal.SIGKILL)
    for _ in range(100):
        try:
            second = int(predict(X)[0])
            break
        except Unavailable:
            continue
    assert second not in (first, os.getpid())


def test_a_model_that_ends_its_process_says_so_each_time(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.Suicidal())
    for _ in range(2):
        with pytest.raises(Unavailable, match="the worker of the pickled model ended"):
            predict(X)


def test_what_a_model_prints_and_reads_does_not_disturb_the_answers(
    loaded: Callable[..., Predict], capfd: pytest.CaptureFixture[str]
) -> None:
    assert np.array_equal(loaded(of.Talker())(X), X[:, 0])
    out, err = capfd.readouterr()
    assert out == ""
    assert "hello from python" in err
    assert "hello from the shell" in err


def test_nothing_but_numbers_comes_back(loaded: Callable[..., Predict]) -> None:
    with pytest.raises(Invalid, match="the pickled model failed: ValueError"):
        loaded(of.Words())(X)
    with pytest.raises(Invalid, match="predict gave an array of 3 dimensions"):
        loaded(of.Cube())(X)
    for garbage in (b"PK\x03\x04" * 100, b"p" + b"\xff" * 24, b"p" + b"\0" * 7 + b"\x80" + b"\0" * 16, b"x" * 25):
        with pytest.raises(Unavailable, match="ended, or sent no answer"):
            loaded(of.Liar(garbage), patience=5.0)(X)


def test_many_threads_are_answered_each_with_their_own(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.First())
    wrong = []

    def ask(i: int) -> None:
        mine = np.full((3, 2), float(i))
        for _ in range(20):
            if not np.array_equal(predict(mine), mine[:, 0]):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_process_ends_with_the_predictor(loaded: Callable[..., Predict]) -> None:
    predict = loaded(of.WhoAmI())
    there = int(predict(X)[0])
    del predict
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(there, 0)


def test_what_has_no_name_to_be_found_by_cannot_be_saved(tmp_path: Path) -> None:
    class Local:
        pass

    with pytest.raises(Invalid, match=r"a Local cannot be pickled.*Define its class in an importable module"):
        pickle.save(Local(), tmp_path, "binary")
