from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.models.tasks import Task, task_of


@pytest.mark.parametrize(
    ("label", "grouped", "task"),
    [
        (Type.BOOL, False, "binary"),
        (Type.STRING, False, "multiclass"),
        (Type.FLOAT64, False, "regression"),
        (Type.INT64, False, "regression"),
        (Type.INT64, True, "ranking"),
    ],
)
def test_the_label_and_its_group_say_the_task(label: Type, grouped: bool, task: str) -> None:
    assert task_of(label, grouped=grouped).name == task


def test_a_timestamp_cannot_be_predicted() -> None:
    with pytest.raises(Invalid, match="Predict a duration"):
        task_of(Type.TIMESTAMP, grouped=False)


def test_classes_are_sorted_and_stand_for_their_place() -> None:
    y, classes = Task("multiclass").encode(pa.chunked_array([["b", "a", "c", "b"]]), np.ones(4, bool))
    assert (y.tolist(), classes) == ([1.0, 0.0, 2.0, 1.0], ["a", "b", "c"])


def test_true_is_one() -> None:
    y, classes = Task("binary").encode(pa.chunked_array([[True, False]]), np.ones(2, bool))
    assert (y.tolist(), classes) == ([1.0, 0.0], None)


def test_a_class_that_only_the_test_has_is_named() -> None:
    with pytest.raises(Invalid, match="no training row has the label 'c'"):
        Task("multiclass").encode(pa.chunked_array([["a", "b", "c"]]), np.array([True, True, False]))


@pytest.mark.parametrize(("task", "values"), [("binary", [True, True, False]), ("multiclass", ["a", "a", "a"])])
def test_a_single_class_is_refused(task: str, values: list[object]) -> None:
    with pytest.raises(Invalid, match="all 2 training rows have the same label"):
        Task(task).encode(pa.chunked_array([values]), np.array([True, True, False]))
