"""Verdicts beside labels: precision, recall and F1 of a class."""

from __future__ import annotations

from labelled import Case

from fivefold.rag.grounding.passages import Evidence
from fivefold.rag.grounding.verify import Thresholds, check

LABELS = ("supported", "misattributed", "stitched", "unsupported")


def verdicts(labelled: list[Case], thresholds: Thresholds) -> list[tuple[Case, str]]:
    """Each case and the state found for it."""
    evidence: dict[tuple[str, ...], Evidence] = {}
    out = []
    for case in labelled:
        key = tuple(p.id for p in case.passages)
        if key not in evidence:
            evidence[key] = Evidence(case.passages)
        out.append((case, check(case.answer, 0, len(case.answer), evidence[key], thresholds).state.value))
    return out


def precision_recall(found: list[tuple[Case, str]], label: str) -> tuple[float, float]:
    """Of a class; 0.0 where nothing is in it."""
    right = sum(case.label == state == label for case, state in found)
    said = sum(state == label for _, state in found)
    are = sum(case.label == label for case, _ in found)
    return right / said if said else 0.0, right / are if are else 0.0


def f1(found: list[tuple[Case, str]], label: str) -> float:
    precision, recall = precision_recall(found, label)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
