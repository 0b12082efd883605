"""Labels: what was true, laid beside what was predicted."""

from __future__ import annotations

import math
from typing import Any

from fivefold.core.errors import Invalid, Unsupported
from fivefold.features.fields import shown
from fivefold.models.package import About
from fivefold.models.rollout import loss_of


def require_label(about: About, label: Any) -> None:
    """Raise Invalid for a label that the task does not have, Unsupported for a ranking: a row has no loss there."""
    match about.task:
        case "regression":
            if isinstance(label, bool) or not isinstance(label, int | float) or not math.isfinite(label):
                raise Invalid(f"the label {shown(label)} is no number.")
        case "binary":
            if not isinstance(label, bool | int | float) or label not in (0, 1):
                raise Invalid(f"the label {shown(label)} is neither true nor false (accepted: true, false, 1, 0).")
        case "multiclass":
            classes = list(about.classes or ())
            if label not in classes:
                raise Invalid(f"the label {shown(label)} is no class (accepted: {', '.join(map(str, classes))}).")
        case other:
            raise Unsupported(f"a {other} model has no loss of a single row.")


def labelled_loss(about: About, prediction: Any, label: Any) -> float:
    """How wrong a logged prediction was, by the label that came. Raises what `require_label` raises."""
    require_label(about, label)
    if about.task == "multiclass":
        classes = list(about.classes or ())
        # a class that the version did not know was given no chance
        return loss_of("multiclass", [float(prediction.get(c, 0.0)) for c in classes], classes.index(label))
    return loss_of(about.task, float(prediction), float(label))
