"""Users, tokens, groups and grants, in every catalog: who has which role, what is audited, what two projects share."""

from __future__ import annotations

from typing import Any

import pytest

from fivefold.catalog import Catalog
from fivefold.catalog.service_tokens import USED_EVERY
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.identity import Role, role

HASH = "scrypt$15$8$3$c2FsdA==$aGFzaA=="


def roles(catalog: Catalog, name: str = "ann") -> set[str]:
    found = catalog.users.find(name)
    assert found is not None
    return set(found[0].roles)


def test_a_role_includes_those_before_it_and_another_takes_its_place(catalog: Catalog) -> None:
    catalog.users.add("ann", HASH, actor="root")
    assert roles(catalog) == set()
    assert catalog.grants.grant("ann", Role.OPERATOR, actor="root") == "user:ann"
    assert roles(catalog) == {"viewer", "editor", "operator"}
    catalog.grants.grant("user:ann", Role.VIEWER, actor="root")
    assert roles(catalog) == {"viewer"}
    catalog.grants.revoke("ann", actor="root")
    assert roles(catalog) == set()


def test_a_group_gives_its_role_to_its_members_and_the_greatest_holds(catalog: Catalog) -> None:
    catalog.users.add("ann", HASH, actor="root")
    catalog.tokens.add("0" * 12, "ci", "d", actor="root")
    with pytest.raises(NotFound, match="no user, token or group 'group:team'"):
        catalog.grants.grant("group:team", Role.EDITOR, actor="root")
    catalog.grants.join("team", "ann", actor="root")
    catalog.grants.join("team", "token:ci", actor="root")
    catalog.grants.grant("group:team", Role.EDITOR, actor="root")
    catalog.grants.grant("ann", Role.VIEWER, actor="root")
    assert roles(catalog) == {"viewer", "editor"}
    held = catalog.tokens.find("0" * 12)
    assert held is not None
    assert (set(held.principal.roles), held.principal.groups) == ({"viewer", "editor"}, {"team"})
    assert [(a.who, a.role, a.through) for a in catalog.grants.access()] == [
        ("token:ci", "editor", "group:team"), ("user:ann", "editor", "group:team")]
    catalog.grants.leave("team", "ann", actor="root")
    assert roles(catalog) == {"viewer"}
    assert catalog.grants.groups() == {"team": ("token:ci",)}


def test_a_name_that_several_have_must_be_said_in_full(catalog: Catalog) -> None:
    catalog.users.add("ann", HASH, actor="root")
    catalog.tokens.add("0" * 12, "ann", "d", actor="root")
    with pytest.raises(Invalid, match="user:ann or token:ann"):
        catalog.grants.grant("ann", Role.VIEWER, actor="root")
    with pytest.raises(NotFound, match="no user, token or group 'bob'"):
        catalog.grants.grant("bob", Role.VIEWER, actor="root")
    with pytest.raises(Invalid, match="none of user:NAME"):
        catalog.grants.grant("robot:ann", Role.VIEWER, actor="root")
    with pytest.raises(NotFound, match="have, the least first: viewer, editor, operator, admin"):
        role("owner")


def test_two_projects_in_one_catalog_share_neither_users_nor_tokens_nor_roles(
    catalog: Catalog, other_project: Catalog
) -> None:
    catalog.users.add("ann", HASH, actor="root")
    catalog.tokens.add("0" * 12, "ci", "d", actor="root")
    catalog.grants.join("team", "ann", actor="root")
    catalog.grants.grant("group:team", Role.ADMIN, actor="root")
    assert other_project.users.find("ann") is None
    assert other_project.tokens.find("0" * 12) is None
    assert not other_project.grants.anybody()
    other_project.users.add("ann", HASH, actor="root")
    assert roles(other_project) == set()
    assert other_project.grants.access()[0].role is None
    other_project.users.disable("ann", actor="root")
    assert roles(catalog) == set(Role)


@pytest.mark.parametrize("name", ["", "a:b", "a b", " a", "-a", "a\x00", "a" * 65, "a\n", "../a"])
def test_what_is_no_name_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(Invalid, match="is not a name"):
        catalog.users.add(name, HASH, actor="root")
    with pytest.raises(Invalid, match="is not a name"):
        catalog.tokens.add("0" * 12, name, "d", actor="root")


def test_a_name_is_one_however_it_is_composed(catalog: Catalog) -> None:
    catalog.users.add("Zoe\u0308", HASH, actor="root")
    with pytest.raises(Conflict, match="fivefold users password"):
        catalog.users.add("Zo\u00eb", HASH, actor="root")
    assert [u.name for u in catalog.users.all()] == ["Zo\u00eb"]


def test_a_disabled_user_and_a_revoked_or_expired_token_are_not_found(catalog: Catalog, clock: Any) -> None:
    catalog.users.add("ann", HASH, actor="root")
    catalog.users.disable("ann", actor="root")
    catalog.users.disable("ann", actor="root")
    assert catalog.users.find("ann") is None
    catalog.users.enable("ann", actor="root")
    assert catalog.users.find("ann") is not None
    catalog.tokens.add("0" * 12, "ci", "d", expires_at=clock() + 10, actor="root")
    catalog.tokens.add("1" * 12, "ci", "d", actor="root")
    assert catalog.tokens.find("0" * 12) is not None
    clock.pass_(10)
    assert catalog.tokens.find("0" * 12) is None
    assert len(catalog.tokens.revoke("1" * 12, actor="root")) == 1
    assert catalog.tokens.revoke("1" * 12, actor="root") == ()
    assert catalog.tokens.find("1" * 12) is None
    assert [t.id for t in catalog.tokens.revoke("ci", actor="root")] == ["0" * 12]
    with pytest.raises(NotFound, match="no token 'c1' .have: ci"):
        catalog.tokens.revoke("c1", actor="root")
    with pytest.raises(Invalid, match="is past"):
        catalog.tokens.add("2" * 12, "ci", "d", expires_at=clock(), actor="root")
    assert catalog.grants.anybody(), "what once was closed stays closed"


def test_the_last_use_of_a_token_is_known_to_within_an_hour(catalog: Catalog, clock: Any) -> None:
    catalog.tokens.add("0" * 12, "ci", "d", actor="root")
    used = []
    for _ in range(4):
        held = catalog.tokens.find("0" * 12)
        assert held is not None
        catalog.tokens.used("0" * 12, held)
        used.append(catalog.tokens.all()[0].used_at)
        clock.pass_(USED_EVERY // 2)
    assert used[0] == used[1] == 1_000_000
    assert used[2] == used[3] == 1_000_000 + USED_EVERY


def test_every_change_is_audited_once_and_no_secret_is(catalog: Catalog) -> None:
    for _ in range(2):
        if not catalog.users.all():
            catalog.users.add("ann", HASH, actor="root")
            catalog.tokens.add("0" * 12, "ci", "digest-of-secret", actor="root")
            catalog.users.set_password("ann", HASH + "2", actor="ann")
        catalog.grants.join("team", "ann", actor="root")
        catalog.grants.grant("ann", Role.EDITOR, actor="root")
        catalog.users.disable("ann", actor="bob")
    for _ in range(2):
        catalog.users.enable("ann", actor="root")
        catalog.grants.revoke("ann", actor="root")
        catalog.grants.leave("team", "ann", actor="root")
        catalog.tokens.revoke("ci", actor="root")
    log = [(e.actor, e.action, e.subject, e.before, e.after) for e in reversed(catalog.audit.log())]
    assert log == [
        ("root", "user-add", "user/ann", None, "enabled"), ("root", "token-create", "token/ci", None, "0" * 12),
        ("ann", "user-password", "user/ann", None, None), ("root", "join", "group/team", None, "user:ann"),
        ("root", "grant", "user/ann", None, "editor"), ("bob", "user-disable", "user/ann", "enabled", "disabled"),
        ("root", "user-enable", "user/ann", "disabled", "enabled"), ("root", "revoke", "user/ann", "editor", None),
        ("root", "leave", "group/team", "user:ann", None), ("root", "token-revoke", "token/ci", "0" * 12, None)]
    assert "scrypt" not in str(log)
    assert "digest-of-secret" not in str(log)
