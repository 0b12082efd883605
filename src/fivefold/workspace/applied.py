"""What the project file says must be what is applied, before anything stands on it."""

from __future__ import annotations

from fivefold.core.errors import Conflict
from fivefold.core.noun import noun_digest
from fivefold.workspace.workspace import Workspace


def require_applied(workspace: Workspace, refs: list[str]) -> None:
    """Raise Conflict when these declarations, or what they stand on, differ from what is applied."""
    project, applied = workspace.project, workspace.catalog.definitions.applied()
    wanted = set(project.closure(refs))
    stale = [
        ref
        for ref, noun in project.nouns.items()
        if ref in wanted and ((held := applied.get((noun.kind, noun.name))) is None or held.digest != noun_digest(noun))
    ]
    if stale:
        raise Conflict(
            f"the project file has changes that are not applied: {', '.join(stale)}.",
            hint="Run `fivefold plan`, then `fivefold apply`.",
        )
