"""Contributions are looked at before anything is made of them: kind, shape, numbers, senders, weights, lengths."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from fivefold.federated.contribution import CLIPPED, GRAIN, LOSS, WEIGHT, Layout, Terms

TOLERANCE = 1 + 1e-9


class Admitted(msgspec.Struct, frozen=True):
    """Contributions by sender, in order, and why others were refused."""

    kept: dict[str, np.ndarray]
    refused: dict[str, str]


def admit(contributions: Iterable[tuple[str, object]], layout: Layout, terms: Terms) -> Admitted:
    """The contributions that are what they should be. A sender who comes twice is left out altogether, unless both are
    the same to the last bit."""
    kept: dict[str, np.ndarray] = {}
    refused: dict[str, str] = {}
    for sender, given in contributions:
        why = _why_not(given, layout, terms)
        if why is None and sender in kept:
            assert isinstance(given, np.ndarray)
            why = None if kept[sender].tobytes() == given.tobytes() else "two different contributions"
        if why is not None:
            kept.pop(sender, None)
            refused.setdefault(sender, why)
        elif sender not in refused:
            assert isinstance(given, np.ndarray)
            kept[sender] = given
    return Admitted(kept, refused)


def _why_not(given: object, layout: Layout, terms: Terms) -> str | None:
    if not isinstance(given, np.ndarray):
        return f"a {type(given).__name__} is no array"
    if given.dtype != np.float64:
        return f"an array of {given.dtype}, not float64"
    if given.shape != (layout.size,):
        return f"an array of the shape {given.shape}, not ({layout.size},)"
    if not np.isfinite(given).all():
        return f"{int((~np.isfinite(given)).sum())} numbers are infinite or none"
    told = layout.unflatten(given)
    weight, heaviest = float(told[WEIGHT]), 1.0 if terms.equal or terms.total > 1 else np.inf
    if not 0 < weight <= heaviest + GRAIN or (terms.equal and weight != 1.0):
        return f"the weight {weight:g} is not {'one' if terms.equal else f'above 0 and at most {heaviest:g}'}"
    if not 0 <= float(told[CLIPPED]) <= weight * TOLERANCE:
        return f"a share clipped of {float(told[CLIPPED]):g} at a weight of {weight:g}"
    if not -np.inf < float(told[LOSS]) <= terms.loss_cap * weight * TOLERANCE:
        return f"a loss of {float(told[LOSS]):g} at a weight of {weight:g}"
    long = float(np.linalg.norm(told["update"]))
    if long > terms.reach * TOLERANCE:
        return f"a change of the length {long:g}, beyond {terms.reach:g}"
    return None
