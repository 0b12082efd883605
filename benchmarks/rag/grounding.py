"""How well sentences are told apart on the half that nothing was tuned on: precision and recall of each class.

Usage: grounding.py [--out FILE]. Also how often questions are rightly answered or left, and the time a sentence takes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections import Counter
from pathlib import Path

from labelled import KINDS, asked, cases, documents
from measured import LABELS, precision_recall, verdicts

from fivefold.rag.grounding import calibrated
from fivefold.rag.grounding.answers import final
from fivefold.rag.grounding.extract import extract
from fivefold.rag.grounding.verify import CALIBRATED, Thresholds

RESULT = Path(__file__).resolve().parents[1] / "results/grounding.json"


def seconds_a_sentence() -> list[float]:
    """Some fifty answers of the labelled set checked with their passages read anew, as one request would."""
    out = []
    labelled = cases("held_out")
    for case in labelled[:: len(labelled) // 50]:
        began = time.perf_counter()
        final(case.answer, case.passages)
        out.append(time.perf_counter() - began)
    return out


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("--out", type=Path, default=RESULT)
    out = given.parse_args().out
    load = os.getloadavg()
    labelled = cases("held_out")
    began = time.perf_counter()
    found = verdicts(labelled, CALIBRATED)
    took = time.perf_counter() - began
    classes = {}
    print(f"{'class':15} {'cases':>6} {'precision':>10} {'recall':>8}")
    for label in LABELS:
        precision, recall = precision_recall(found, label)
        count = sum(c.label == label for c in labelled)
        classes[label] = {"cases": count, "precision": round(precision, 4), "recall": round(recall, 4)}
        print(f"{label:15} {count:6} {precision:10.3f} {recall:8.3f}")
    elsewhere = {}
    for coverage in (0.8, 0.9):
        precision, recall = precision_recall(verdicts(labelled, Thresholds(coverage=coverage)), "supported")
        elsewhere[coverage] = {"precision": round(precision, 4), "recall": round(recall, 4)}
        print(f"supported, were a coverage of {coverage} enough: precision {precision:.3f}, recall {recall:.3f}")
    kinds = {}
    for label, makes in KINDS.items():
        for make in makes:
            states = Counter(s for c, s in found if (c.label, c.kind) == (label, make.__name__))
            if states:
                kinds[f"{label}: {make.__name__}"] = dict(sorted(states.items()))
                print(f"  {label:14} {make.__name__:18} {dict(states.most_common())}")
    questions = asked("held_out")
    known = [(extract(q.question, q.passages).known, q.answered) for q in questions]
    answering = {
        "questions": len(known),
        "answered_of_those_that_can_be": round(sum(k and a for k, a in known) / sum(a for _, a in known), 4),
        "left_of_those_that_cannot_be": round(sum(not k and not a for k, a in known) / sum(not a for _, a in known), 4),
    }
    print(answering)
    times = seconds_a_sentence()
    answer = {
        "command": "python benchmarks/rag/grounding.py",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_before": load,
        "versions": {"msgspec": importlib.metadata.version("msgspec")},
        "thresholds": {
            "coverage": calibrated.COVERAGE,
            "stitched": calibrated.STITCHED_COVERAGE,
            "part": calibrated.PART,
            "evidence": calibrated.EVIDENCE,
        },
        "documents": {half: len(documents(half)) for half in ("calibrate", "held_out")},
        "classes": classes,
        "supported_at_other_coverages": elsewhere,
        "kinds": kinds,
        "i_dont_know": answering,
        "ms_a_sentence": round(took / len(labelled) * 1e3, 3),
        "ms_a_sentence_with_reading_its_passages": round(statistics.median(times) * 1e3, 3),
    }
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(answer, indent=1) + "\n")
    print(f"{answer['ms_a_sentence']} ms a sentence; with reading its passages {statistics.median(times) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
