"""A project bound to the stores of one environment."""

from fivefold.workspace.workspace import Workspace, open_workspace

__all__ = ["Workspace", "open_workspace"]
