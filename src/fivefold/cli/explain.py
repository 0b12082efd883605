"""`fivefold serve --explain`: what a request goes through, stage by stage, with what each takes here."""

from __future__ import annotations

from pathlib import Path

from fivefold.cli.session import table, workspace


def explain_endpoints(project: Path, env: str, names: list[str] | None, at: str) -> None:
    """Print the plan of a request to each endpoint, measured on the real store; nothing is logged there."""
    from fivefold.core.time import instant
    from fivefold.realtime.processes.explain import explained
    from fivefold.realtime.processes.server import chosen_endpoints

    with workspace(project, env) as opened:
        for plan in explained(opened, chosen_endpoints(opened, names), instant(at, "--at") if at else None):
            table(
                f"{plan.endpoint}: {plan.model}@{plan.version}, one row as JSON, measured in this process",
                ["stage", "what it does", "median µs", "p99 µs", "share"],
                [[s.name, s.what, f"{s.median:.1f}", f"{s.p99:.1f}", f"{s.share:.0%}"] for s in plan.stages],
            )
            for line in plan.notes:
                print(line)
