"""Gates are decided: each with its figures and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from fivefold.core.errors import NotFound
from fivefold.core.learning import Gate
from fivefold.models.bootstrap import Interval
from fivefold.models.metrics import improvement, prepare, score
from fivefold.models.tasks import Task


class Decision(msgspec.Struct, frozen=True):
    """What one gate came to; `value` is the metric, or the improvement over `against`, a version's number."""

    gate: dict[str, Any]
    passed: bool
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    against: int | None = None


def judge(
    gates: Sequence[Gate],
    *,
    task: Task,
    y: np.ndarray,
    p: np.ndarray,
    champion: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    segments: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
    against: int | None = None,
) -> list[Decision]:
    """Decide gates on test rows: `p` are the candidate's predictions, `champion` the champion's on the same rows.

    A gate against a champion passes when there is none, else when the lower end of the paired interval of the
    improvement is at least `by`. A gate with a segment must hold within each of its large enough values. A gate whose
    metric is undefined (one label only, for instance) does not pass.
    """
    out: list[Decision] = []
    for gate in gates:
        parts = _segments(gate, segments or {}, len(y))
        if not parts:
            out.append(_too_few(gate))
        for where, rows in parts:
            given = None if groups is None else groups[rows]
            theirs = None if champion is None else champion[rows]
            out += _decide(gate, task, y[rows], p[rows], theirs, given, seed, against, where)
    return out


def _segments(gate: Gate, segments: Mapping[str, np.ndarray], rows: int) -> list[tuple[str, np.ndarray]]:
    if gate.segment is None:
        return [("", np.ones(rows, dtype=bool))]
    if gate.segment not in segments:
        raise NotFound.named("segment", gate.segment, segments)
    values = segments[gate.segment]
    found = []
    for value in sorted({str(v) for v in values.tolist()}):
        mask = values.astype(str) == value
        if mask.sum() >= gate.min_rows:
            found.append((f" for {gate.segment} {value}", mask))
    return found


def _too_few(gate: Gate) -> Decision:
    said = f"{gate.metric}: no {gate.segment} has {gate.min_rows} test rows, so that none is judged"
    return Decision(msgspec.to_builtins(gate), True, said)


def _decide(
    gate: Gate,
    task: Task,
    y: np.ndarray,
    p: np.ndarray,
    champion: np.ndarray | None,
    groups: np.ndarray | None,
    seed: int,
    against: int | None,
    where: str,
) -> list[Decision]:
    plain = msgspec.to_builtins(gate)
    if np.isnan(prepare(task, gate.metric, y, p, groups)(np.ones(len(y)))):
        return [Decision(plain, False, f"{gate.metric}{where} is undefined on these {len(y)} rows")]
    out = []
    if gate.at_least is not None or gate.at_most is not None:
        m = score(task, y, p, [gate.metric], groups=groups, seed=seed)[gate.metric]
        for limit, word, holds in (
            (gate.at_least, "at least", m.value >= (gate.at_least or 0)),
            (gate.at_most, "at most", m.value <= (gate.at_most or 0)),
        ):
            if limit is not None:
                said = f"{gate.metric}{where} is {_shown(m)}, {'' if holds else 'not '}{word} {limit:g}"
                out.append(Decision(plain, bool(holds), said, m.value, m.low, m.high))
    if gate.beats is not None:
        if champion is None:
            out.append(Decision(plain, True, f"{gate.metric}{where}: there is no {gate.beats} to beat yet"))
        else:
            d = improvement(task, gate.metric, y, champion, p, groups=groups, seed=seed)
            holds = d.low >= gate.by if gate.by else d.low > 0
            said = (
                f"{gate.metric}{where} is {'better' if d.value >= 0 else 'worse'} than version {against} by {_shown(d)}"
            )
            if not holds:
                said += f", where the lower end must be {f'at least {gate.by:g}' if gate.by else 'above 0'}"
            out.append(Decision(plain, bool(holds), said, d.value, d.low, d.high, against))
    return out


def _shown(m: Interval) -> str:
    return f"{m.value:.4g} [{m.low:.4g}, {m.high:.4g}]"
