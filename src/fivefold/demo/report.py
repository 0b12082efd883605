"""The report: one page without any outside asset, and its figures as JSON."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from fivefold.core.errors import missing_extra

INK, SOFT, ACCENT, OTHER, THIRD = "#1c2430", "#8a94a3", "#2458c6", "#e08a2c", "#b8c0cc"


def write_report(folder: Path, facts: dict[str, Any]) -> None:
    """Write report.json and report.html. Raises Unsupported without matplotlib."""
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=1))
    pages = Environment(
        loader=PackageLoader("fivefold.demo"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    plots = {name: Markup(draw(facts)) for name, draw in PLOTS.items()}
    example = msgspec.json.format(msgspec.json.encode(facts["serving"]["example"]), indent=2).decode()
    (folder / "report.html").write_text(pages.get_template("report.html").render(f=facts, plots=plots, example=example))


def _metrics(facts: dict[str, Any]) -> str:
    figure, axes = _figure(8.2, 3.4, columns=2, rows=2)
    names, colours = list(facts["metrics"]), (ACCENT, OTHER, THIRD)
    for axis, metric in zip(axes, ("auc", "average_precision", "logloss", "brier"), strict=True):
        for i, (name, colour) in enumerate(zip(names, colours, strict=True)):
            m = facts["metrics"][name][metric]
            axis.barh(-i, m["value"], color=colour, height=0.62)
            axis.plot([m["low"], m["high"]], [-i, -i], color=INK, linewidth=1.2)
            axis.annotate(
                f"{m['value']:.3f}",
                (m["high"], -i),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=INK,
            )
        better = "less" if metric in ("logloss", "brier") else "more"
        axis.set_title(f"{metric}: {better} is better", fontsize=9, loc="left", color=INK)
        axis.set_yticks([0, -1, -2], names, fontsize=8.5)
        axis.set_xlim(0, max(facts["metrics"][n][metric]["value"] for n in names) * 1.28)
        axis.xaxis.set_visible(False)
        for side in ("bottom", "left"):
            axis.spines[side].set_visible(side == "left")
    return _svg(figure)


def _importance(facts: dict[str, Any]) -> str:
    shares = [(n, s) for n, s in facts["importance"].items() if s > 0][:14][::-1]
    figure, (axis,) = _figure(8.2, 3.8)
    # one feature may cost a hundred times as much as the next: points, since bars on such a scale mislead
    axis.hlines(range(len(shares)), 0.01, [s * 100 for _, s in shares], color=THIRD, linewidth=1)
    axis.plot([s * 100 for _, s in shares], range(len(shares)), "o", color=ACCENT, markersize=6)
    axis.set_yticks(range(len(shares)), [n for n, _ in shares])
    for i, (_, share) in enumerate(shares):
        axis.text(share * 118, i, f" {share:.1%}", va="center", fontsize=8, color=INK)
    axis.set_xscale("log")
    axis.set_xlim(max(min(s for _, s in shares) * 50, 0.01), 250)
    axis.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axis.minorticks_off()
    axis.set_xlabel("share of what shuffling a feature costs in log loss, % (logarithmic)", fontsize=8.5)
    axis.tick_params(labelsize=8.5)
    return _svg(figure)


def _calibration(facts: dict[str, Any]) -> str:
    figure, (axis,) = _figure(4.1, 3.4)
    axis.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    points = facts["calibration"]
    axis.plot([p["predicted"] for p in points], [p["observed"] for p in points], color=ACCENT, marker="o", markersize=4)
    axis.set_xlabel("predicted share of late flights", fontsize=8.5)
    axis.set_ylabel("observed", fontsize=8.5)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.tick_params(labelsize=8)
    return _svg(figure)


def _latency(facts: dict[str, Any]) -> str:
    serving = facts["serving"]
    figure, (axis,) = _figure(4.1, 3.4)
    top = sorted(serving["milliseconds"])[int(len(serving["milliseconds"]) * 0.985)]
    axis.hist([t for t in serving["milliseconds"] if t <= top], bins=32, color=ACCENT)
    for value, word in ((serving["p50_ms"], "p50"), (serving["p99_ms"], "p99")):
        if value <= top:
            axis.axvline(value, color=OTHER, linewidth=1.4)
            axis.text(value, axis.get_ylim()[1], f" {word} {value:.2f}", fontsize=8, va="top", color=INK)
    axis.set_xlabel("milliseconds a request, client to client", fontsize=8.5)
    axis.set_ylabel("requests", fontsize=8.5)
    axis.tick_params(labelsize=8)
    return _svg(figure)


def _stages(facts: dict[str, Any]) -> str:
    stages = [s for s in facts["stages"] if s["seconds"] >= 0.05]
    figure, (axis,) = _figure(8.2, 0.7 + 0.32 * len(stages))
    start = 0.0
    for i, stage in enumerate(stages):
        axis.barh(-i, stage["seconds"], left=start, color=ACCENT, height=0.6)
        axis.text(start + stage["seconds"], -i, f" {stage['seconds']:.1f} s", va="center", fontsize=8, color=INK)
        start += stage["seconds"]
    axis.set_yticks([-i for i in range(len(stages))], [s["name"] for s in stages], fontsize=8.5)
    axis.set_xlabel("seconds since the start", fontsize=8.5)
    axis.set_xlim(0, start * 1.08)
    axis.tick_params(labelsize=8)
    return _svg(figure)


PLOTS = {
    "metrics": _metrics,
    "importance": _importance,
    "calibration": _calibration,
    "latency": _latency,
    "stages": _stages,
}


def _figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "demo", "the report") from None
    mpl.rcParams.update(
        {
            "font.family": "sans-serif",
            "svg.fonttype": "none",
            "svg.hashsalt": "fivefold",
            "axes.edgecolor": SOFT,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.labelcolor": INK,
        }
    )
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
