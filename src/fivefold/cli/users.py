"""Commands about who there is: users, tokens of services, groups."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace

PANEL = "Who may do what"
Commands = dict[str, Callable[..., None]]
RoleOption = Annotated[str, typer.Option("--role", help="Grant this role at once: viewer, editor, operator or admin.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
WhoArgument = Annotated[str, typer.Argument(metavar="WHO", help="user:NAME, token:NAME, or a name that is one alone.")]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for name, about, commands in (
        ("users", "People, who are known by a password or a client certificate.", _USERS),
        ("tokens", "Tokens of services.", _TOKENS),
        ("groups", "Groups of users and tokens, which may be given a role.", _GROUPS),
    ):
        made = typer.Typer(no_args_is_help=True, help=about)
        for word, command in commands.items():
            made.command(word)(command)
        app.add_typer(made, name=name, rich_help_panel=PANEL)


def add_user(
    name: NameArgument,
    role: RoleOption = "",
    no_password: Annotated[
        bool, typer.Option("--no-password", help="The user is known by a client certificate alone.")
    ] = False,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Add a user. The password is asked for, or read from the first line of standard input; it is never an argument."""
    from fivefold.access.secret import password_hash
    from fivefold.core.identity import identity_name
    from fivefold.core.identity import role as role_of

    name = identity_name(name, "user")
    wanted = role_of(role) if role else None
    hashed = None if no_password else password_hash(_password(name))
    with workspace(project, env) as opened:
        made = opened.catalog.users.add(name, hashed, actor=opened.actor)
        if wanted is not None:
            opened.catalog.grants.grant(f"user:{made.name}", wanted, actor=opened.actor)
    _say(json, made, f"user {made.name} added{_with(role)}.")


def list_users(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Show all users."""
    from fivefold.core.time import iso

    with workspace(project, env) as opened:
        found = opened.catalog.users.all()
    if json:
        emit(found)
        return
    rows: list[list[object]] = [
        [u.name, "disabled" if u.disabled_at else "enabled", "yes" if u.has_password else "no", iso(u.created_at)]
        for u in found
    ]
    table("users", ["name", "state", "password", "since"], rows)


def disable(
    name: NameArgument, json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev"
) -> None:
    """Let a user in no more. A server that runs knows it within 5 seconds."""
    with workspace(project, env) as opened:
        opened.catalog.users.disable(name, actor=opened.actor)
    _say(json, {"user": name, "state": "disabled"}, f"user {name} is disabled.")


def enable(name: NameArgument, json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Let a disabled user in again."""
    with workspace(project, env) as opened:
        opened.catalog.users.enable(name, actor=opened.actor)
    _say(json, {"user": name, "state": "enabled"}, f"user {name} is enabled.")


def password(
    name: NameArgument, json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev"
) -> None:
    """Change a user's password, which is asked for, or read from the first line of standard input."""
    from fivefold.access.secret import password_hash

    hashed = password_hash(_password(name))
    with workspace(project, env) as opened:
        opened.catalog.users.set_password(name, hashed, actor=opened.actor)
    _say(json, {"user": name, "password": "changed"}, f"the password of {name} is changed.")


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The service; several tokens may have one name.")],
    role: RoleOption = "",
    expires: Annotated[str, typer.Option(help="How long it holds, for instance 90d; 'never' for no end.")] = "90d",
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Make a token for a service and show it, this once. Standard output has nothing but the token (or JSON)."""
    from fivefold.access.secret import new_token
    from fivefold.core.identity import role as role_of
    from fivefold.core.time import duration, iso

    wanted = role_of(role) if role else None
    holds = None if expires == "never" else duration(expires, "--expires")
    secret = new_token()
    with workspace(project, env) as opened:
        end = None if holds is None else opened.clock() + holds
        made = opened.catalog.tokens.add(secret.id, name, secret.digest, expires_at=end, actor=opened.actor)
        if wanted is not None:
            opened.catalog.grants.grant(f"token:{made.name}", wanted, actor=opened.actor)
        roles = {a.who: a.role for a in opened.catalog.grants.access()}
    if json:
        emit({"id": made.id, "name": made.name, "expires_at": made.expires_at, "token": secret.text})
        return
    until = iso(made.expires_at) if made.expires_at else "it is revoked"
    print(f"token {made.id} of {made.name} holds until {until}; it is not shown again:", file=sys.stderr)
    print(secret.text)
    if roles.get(f"token:{made.name}") is None:
        print(f"it may do nothing yet: fivefold grant token:{made.name} viewer", file=sys.stderr)


def list_tokens(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Show all tokens, without their secrets; when they were used, to within an hour."""
    from fivefold.core.time import iso

    with workspace(project, env) as opened:
        found, now = opened.catalog.tokens.all(), opened.clock()
    if json:
        emit(found)
        return
    rows: list[list[object]] = []
    for t in found:
        over = t.expires_at is not None and t.expires_at <= now
        state = "revoked" if t.revoked_at else "expired" if over else "holds"
        rows.append(
            [t.id, t.name, state, iso(t.expires_at) if t.expires_at else None, iso(t.used_at) if t.used_at else None]
        )
    table("tokens", ["id", "name", "state", "until", "used"], rows)


def revoke_token(
    which: Annotated[str, typer.Argument(metavar="ID|NAME", help="One token by its id, or all of a name.")],
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Let a token in no more. A server that runs knows it within 5 seconds."""
    with workspace(project, env) as opened:
        made = opened.catalog.tokens.revoke(which, actor=opened.actor)
    said = ", ".join(f"{t.id} of {t.name}" for t in made)
    _say(json, made, f"revoked: {said}." if made else f"{which} was revoked before.")


def list_groups(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Show all groups and who is in them."""
    with workspace(project, env) as opened:
        found = opened.catalog.grants.groups()
    if json:
        emit(found)
        return
    table("groups", ["group", "members"], [[g, ", ".join(inside)] for g, inside in found.items()])


def join(
    group: Annotated[str, typer.Argument(metavar="GROUP")],
    who: WhoArgument,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Put a user or a token into a group, which is there from its first member on."""
    with workspace(project, env) as opened:
        found = opened.catalog.grants.join(group, who, actor=opened.actor)
    _say(json, {"group": group, "added": found}, f"{found} is in group:{group}.")


def leave(
    group: Annotated[str, typer.Argument(metavar="GROUP")],
    who: WhoArgument,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Take a user or a token out of a group."""
    with workspace(project, env) as opened:
        found = opened.catalog.grants.leave(group, who, actor=opened.actor)
    _say(json, {"group": group, "removed": found}, f"{found} is not in group:{group}.")


_USERS: Commands = {"add": add_user, "list": list_users, "disable": disable, "enable": enable, "password": password}
_TOKENS: Commands = {"create": create, "list": list_tokens, "revoke": revoke_token}
_GROUPS: Commands = {"list": list_groups, "add": join, "remove": leave}


def _password(name: str) -> str:
    from fivefold.access.secret import accepted_password

    if sys.stdin.isatty():
        given: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    return accepted_password(given, name)


def _with(role: str) -> str:
    return f" with the role {role}" if role else "; it may do nothing before it is granted a role"


def _say(json: bool, value: object, text: str) -> None:
    emit(value) if json else print(text)
