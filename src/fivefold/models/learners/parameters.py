"""Parameters of learners, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fivefold.core.errors import Invalid, did_you_mean


def require_known(learner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise Invalid for the first parameter that a learner does not have, with the nearest one it has."""
    have = sorted(known)
    for name in given:
        if name not in have:
            listed = f" (have: {', '.join(have)})" if len(have) <= 12 else ""
            raise Invalid(f"the learner {learner} has no parameter {name!r}{listed}.", hint=did_you_mean(name, have))


def number(learner: str, given: Mapping[str, Any], name: str, default: float, least: float) -> float:
    """A parameter as a number of at least `least`. Raises Invalid for anything else."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
        raise Invalid(f"the learner {learner}: {name}={value!r} is not a number of at least {least:g}.")
    return float(value)


def whole(learner: str, given: Mapping[str, Any], name: str, default: int, least: int = 1) -> int:
    """A parameter as an integer of at least `least`. Raises Invalid for anything else."""
    value = number(learner, given, name, default, least)
    if value != int(value):
        raise Invalid(f"the learner {learner}: {name}={value!r} is not a whole number.")
    return int(value)
