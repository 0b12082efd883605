from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import fivefold.rag.grounding as room
from fivefold.rag.grounding import calibrated

RESULT = json.loads((Path(__file__).resolve().parents[3] / "benchmarks/results/grounding.json").read_text())


def test_the_published_figures_are_of_the_thresholds_that_are_used() -> None:
    used = {"coverage": calibrated.COVERAGE, "stitched": calibrated.STITCHED_COVERAGE, "part": calibrated.PART, "evidence": calibrated.EVIDENCE}
    assert RESULT["thresholds"] == used


def test_what_is_called_supported_is() -> None:
    assert RESULT["classes"]["supported"]["precision"] >= 0.9


@pytest.mark.parametrize("name", [m.name for m in pkgutil.iter_modules(room.__path__)])
def test_the_examples_of_the_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"{room.__name__}.{name}")).failed == 0
