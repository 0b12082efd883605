"""Labels: what was true, laid beside what was predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from fivefold.core.errors import Invalid, Unsupported
from fivefold.features.fields import shown
from fivefold.models.rollout import loss_of
from fivefold.realtime.protocols.batch import DECISION


class Judged(Protocol):
    """What labels are of: a task and its classes, as a package or a signature tells them."""

    @property
    def task(self) -> str: ...

    @property
    def classes(self) -> Sequence[str] | None: ...


def require_label(about: Judged, label: Any) -> None:
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
        case "decision":
            if type(label) not in (bool, int, str):
                raise Invalid(f"the label {shown(label)} is no decision (accepted: what the endpoint could answer).")
        case other:
            raise Unsupported(f"a {other} model has no loss of a single row.")


def labelled_loss(about: Judged, prediction: Any, label: Any) -> float:
    """How wrong a logged prediction was, by the label that came. Raises what `require_label` raises."""
    require_label(about, label)
    if about.task == "multiclass":
        classes = list(about.classes or ())
        # a class that the version did not know was given no chance
        return loss_of("multiclass", [float(prediction.get(c, 0.0)) for c in classes], classes.index(label))
    if about.task == DECISION:
        return float(type(prediction) is not type(label) or prediction != label)
    return loss_of(
        about.task, min(max(float(prediction), 0.0), 1.0) if about.task == "binary" else float(prediction), float(label)
    )
