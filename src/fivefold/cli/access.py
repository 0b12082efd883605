"""Commands about who may do what: grant, revoke, access."""

from __future__ import annotations

from typing import Annotated

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace
from fivefold.cli.users import PANEL

WhoArgument = Annotated[
    str, typer.Argument(metavar="WHO", help="user:NAME, token:NAME, group:NAME, or a name that is one alone.")
]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (grant, revoke, access):
        app.command(rich_help_panel=PANEL)(command)


def grant(
    who: WhoArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, editor, operator or admin.")],
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Give somebody a role in the project, in place of the one they have. Each role includes those before it.

    A viewer sees and asks for predictions, an editor declares and trains, an operator changes what is served, an admin
    says who may do what.
    """
    from fivefold.core.identity import role as role_of

    wanted = role_of(role)
    with workspace(project, env) as opened:
        found = opened.catalog.grants.grant(who, wanted, actor=opened.actor)
    emit({"who": found, "role": role}) if json else print(f"{found} is {role}.")


def revoke(who: WhoArgument, json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Take somebody's own role away; what their groups have is left. A server that runs knows it within 5 seconds."""
    with workspace(project, env) as opened:
        found = opened.catalog.grants.revoke(who, actor=opened.actor)
    emit({"who": found, "role": None}) if json else print(f"{found} has no role of its own.")


def access(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Show who may do what, and through what."""
    with workspace(project, env) as opened:
        catalog, now = opened.catalog, opened.clock()
        found = catalog.grants.access()
        inside = {f"user:{u.name}" for u in catalog.users.all() if u.disabled_at is None}
        inside |= {
            f"token:{t.name}"
            for t in catalog.tokens.all()
            if t.revoked_at is None and (t.expires_at is None or t.expires_at > now)
        }
    if json:
        emit([{"who": a.who, "role": a.role, "through": a.through, "let_in": a.who in inside} for a in found])
        return
    rows: list[list[object]] = [[a.who, a.role, a.through, "yes" if a.who in inside else "no"] for a in found]
    table("access", ["who", "role", "through", "let in"], rows)
