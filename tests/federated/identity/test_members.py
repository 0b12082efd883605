"""Invitations are good once, members are let in by their certificates, and no secret of theirs is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fivefold.catalog import Catalog, open_catalog
from fivefold.catalog.federated_members import Issued
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.identity import Unauthenticated
from fivefold.federated.identity.invitation import (
    Invitation,
    new_secret,
    read_invitation,
    same,
    token_parts,
)

HOUR = 3600 * 1_000_000


class Clock:
    now = 10 * HOUR

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(catalog_url: str, clock: Clock) -> Iterator[Catalog]:
    with open_catalog(catalog_url, "shop", clock=clock) as opened:
        yield opened


def invite(catalog: Catalog, client: str = "ada") -> tuple[str, str]:
    token, id, digest = new_secret()
    catalog.members.invite(client, id, digest, expires_at=catalog.database.clock() + HOUR, actor="ann")
    return token, id


def issued(serial: str) -> Issued:
    return Issued(serial, b"certificate " + serial.encode(), 20 * HOUR)


def test_an_invitation_is_good_once_and_a_retry_gets_the_same(catalog: Catalog) -> None:
    token, id = invite(catalog)
    parsed, digest = token_parts(token)
    assert parsed == id
    assert catalog.members.invited(id, lambda kept: same(kept, digest)) == "ada"
    made = catalog.members.redeem(id, "request", "key", lambda: issued("1"))
    again = catalog.members.redeem(id, "request", "key", lambda: issued("2"))
    assert made == again == issued("1")
    with pytest.raises(Conflict, match="used by another request"):
        catalog.members.redeem(id, "another", "key", lambda: issued("3"))
    assert [(m.client, m.key) for m in catalog.members.all()] == [("ada", "key")]


def test_a_wrong_secret_an_unknown_invitation_and_one_that_is_over_are_refused_alike(catalog: Catalog, clock: Clock) -> None:
    _, id = invite(catalog)
    for which, right in ((id, False), ("000000000000", True)):
        with pytest.raises(Unauthenticated, match="this invitation is not accepted"):
            catalog.members.invited(which, lambda kept, right=right: right)
    clock.now += 2 * HOUR
    with pytest.raises(Unauthenticated, match="this invitation is not accepted"):
        catalog.members.invited(id, lambda kept: True)
    with pytest.raises(Invalid, match="is past"):
        catalog.members.invite("ada", "x", "d", expires_at=clock.now, actor="ann")


def test_a_certificate_lets_its_member_in_until_revoked(catalog: Catalog) -> None:
    _, id = invite(catalog)
    catalog.members.redeem(id, "request", "key", lambda: issued("1"))
    assert catalog.members.require("ada", "1") == "key"
    for client, serial in (("bob", "1"), ("ada", "2")):
        with pytest.raises(Unauthenticated, match="no such certificate"):
            catalog.members.require(client, serial)
    catalog.members.revoke("ada", actor="ann")
    catalog.members.revoke("ada", actor="ann")
    with pytest.raises(Unauthenticated, match="is no member"):
        catalog.members.require("ada", "1")
    with pytest.raises(Unauthenticated, match="is no member"):
        catalog.members.renew("ada", "r", "key", lambda: issued("9"))
    with pytest.raises(NotFound, match="Did you mean 'ada'"):
        catalog.members.revoke("adda", actor="ann")
    assert [e.action for e in catalog.audit.log(subject="member/ada")] == [
        "federation-revoke", "federation-join", "federation-invite"]


def test_a_new_invitation_brings_a_new_key_and_ends_the_old(catalog: Catalog) -> None:
    catalog.members.redeem(invite(catalog)[1], "one", "old", lambda: issued("1"))
    catalog.members.redeem(invite(catalog)[1], "two", "new", lambda: issued("2"))
    assert catalog.members.require("ada", "2") == "new"
    with pytest.raises(Unauthenticated):
        catalog.members.require("ada", "1")


def test_a_renewal_is_for_the_same_key_and_a_retry_gets_the_same(catalog: Catalog) -> None:
    catalog.members.redeem(invite(catalog)[1], "one", "key", lambda: issued("1"))
    assert catalog.members.renew("ada", "two", "key", lambda: issued("2")) == issued("2")
    assert catalog.members.renew("ada", "two", "key", lambda: issued("3")) == issued("2")
    assert catalog.members.require("ada", "1") == catalog.members.require("ada", "2") == "key"
    with pytest.raises(Unauthenticated):
        catalog.members.renew("ada", "three", "another", lambda: issued("4"))


def test_secrets_are_in_no_file_and_in_no_message(tmp_path: Path, clock: Clock) -> None:
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db", "shop", clock=clock) as catalog:
        token, _ = invite(catalog)
    secret = token.split("_", 2)[2].encode()
    assert not any(secret in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    shown = Invitation("ada", "a:1", "b:2", "pem", token)
    assert secret.decode() not in repr(shown)
    for wrong in ("", "ffe_1_2", token[:-20], token.replace("ffe", "ff")):
        with pytest.raises(Invalid, match="not an enrolment token") as told:
            token_parts(wrong)
        assert secret.decode()[:20] not in str(told.value)
    with pytest.raises(Invalid, match="not an invitation"):
        read_invitation(token.encode())
