"""Draws the lines of the grounding room on the calibration half, and writes them into the package.

Usage: calibrate.py [--check]: with --check nothing is written and a difference to what is there is an error. One line
after the other is moved to where the mean F1 of the four classes is best, the strictest of equals; the threshold of
evidence to where questions that can be answered are told best from those that cannot.
"""

from __future__ import annotations

import sys
from pathlib import Path

from labelled import Case, asked, cases
from measured import LABELS, f1, verdicts

from fivefold.rag.grounding.extract import extract
from fivefold.rag.grounding.verify import Thresholds

WRITTEN = Path(__file__).resolve().parents[2] / "src/fivefold/rag/grounding/calibrated.py"
COVERAGES = (0.8, 0.85, 0.9, 0.95, 1.0)
STITCHED = (0.6, 0.7, 0.8, 0.9, 1.0)
PARTS = (1, 2, 3, 4)


def quality(labelled: list[Case], thresholds: Thresholds) -> float:
    found = verdicts(labelled, thresholds)
    return sum(f1(found, label) for label in LABELS) / len(LABELS)


def calibrated() -> str:
    labelled = cases("calibrate")
    coverage = max(COVERAGES, key=lambda c: (round(quality(labelled, Thresholds(c, 0.8, 3)), 4), c))
    tried = [Thresholds(coverage, s, p) for s in STITCHED for p in PARTS]
    # where these two lines lie matters only for sentences that no single span supports
    some = labelled[::3]
    best = max(tried, key=lambda t: (round(quality(some, t), 4), t.stitched, t.part))
    evidence = [(extract(q.question, q.passages, least_evidence=0.0).evidence, q.answered) for q in asked("calibrate")]
    lines = [n / 100 for n in range(5, 100)]
    line = max(lines, key=lambda at: (sum((value >= at) == known for value, known in evidence), at))
    return (
        '"""Written by `python benchmarks/rag/calibrate.py`, from the half of the labelled set that is for it;'
        ' never by hand."""\n\n'
        f"COVERAGE = {best.coverage}\nSTITCHED_COVERAGE = {best.stitched}\nPART = {best.part}\nEVIDENCE = {line}\n"
    )


if __name__ == "__main__":
    text = calibrated()
    print(text)
    if "--check" not in sys.argv:
        WRITTEN.write_text(text)
    elif text != WRITTEN.read_text():
        sys.exit("calibrated.py is not what calibration gives: run this without --check.")
