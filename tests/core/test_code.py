import importlib.util
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from fivefold.core.code import canonical_object, code_digest
from fivefold.core.errors import Invalid


def module(tmp_path: Path, text: str, name: str = "m") -> ModuleType:
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


BASE = """
    import math
    RATE = 2.0
    def inner(x):
        return x * RATE
    def f(x, y=1):
        '''Says what it does.'''
        return inner(x) + math.floor(y)
"""


def test_layout_comments_docstrings_and_annotations_do_not_count(tmp_path: Path) -> None:
    other = """
    import math
    RATE = 2.0
    def inner(x: float) -> float:
        # doubles
        return (x
                * RATE)
    def f(x: float, y: int = 1) -> float:
        return inner(x) + math.floor(y)
    """
    assert code_digest(module(tmp_path, BASE, "a").f) == code_digest(module(tmp_path, other, "b").f)


@pytest.mark.parametrize(("old", "new"), [("RATE = 2.0", "RATE = 3.0"), ("x * RATE", "x + RATE"), ("y=1", "y=2"),
                                          ("math.floor", "math.ceil"), ("inner(x) +", "inner(x) -")])
def test_constants_defaults_and_called_functions_count(tmp_path: Path, old: str, new: str) -> None:
    changed = BASE.replace(old, new)
    assert changed != BASE
    assert code_digest(module(tmp_path, BASE, "a").f) != code_digest(module(tmp_path, changed, "b").f)


def test_recursion_ends(tmp_path: Path) -> None:
    text = """
    def even(n):
        return n == 0 or odd(n - 1)
    def odd(n):
        return n != 0 and even(n - 1)
    """
    assert code_digest(module(tmp_path, text, "a").even) == code_digest(module(tmp_path, text, "b").even)


def test_constants_used_only_inside_a_comprehension_count(tmp_path: Path) -> None:
    text = "K = 1\ndef f(xs):\n    return [x * K for x in xs]\n"
    one, two = module(tmp_path, text, "a").f, module(tmp_path, text.replace("K = 1", "K = 2"), "b").f
    assert code_digest(one) != code_digest(two)


def test_an_estimator_is_its_class_and_parameters() -> None:
    from sklearn.linear_model import LogisticRegression

    assert canonical_object(LogisticRegression(C=1.0)) == canonical_object(LogisticRegression(C=1.0))
    assert canonical_object(LogisticRegression(C=1.0)) != canonical_object(LogisticRegression(C=2.0))


def test_an_object_that_cannot_be_seen_into_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot digest"):
        canonical_object(object())
