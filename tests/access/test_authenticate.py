"""Credentials, most of them hostile: what is let in, what is remembered for how long, what wrong ones cost."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from access_keeper import PASSWORD, basic

from fivefold.access import secret
from fivefold.access.authenticate import FRESH_SECONDS, GRACE_SECONDS, MOST_REMEMBERED, _network
from fivefold.core.errors import Unavailable
from fivefold.core.identity import Role, SlowDown, Unauthenticated


def test_a_token_and_a_password_say_who_is_asking(keeper: Any) -> None:
    text, _ = keeper.token(role=Role.OPERATOR)
    keeper.user()
    made = keeper.ask(f"Bearer {text}")
    assert (str(made), set(made.roles)) == ("token:ci", {"viewer", "editor", "operator"})
    assert str(keeper.ask(f"bearer  {text} ")) == "token:ci"
    assert str(keeper.ask(basic("ann", PASSWORD))) == "user:ann"


def test_wrong_tokens_are_refused_in_one_voice(keeper: Any) -> None:
    text, id = keeper.token()
    other, _ = keeper.token("other")
    over, _ = keeper.token("over", holds=0.5)
    gone, gone_id = keeper.token("gone")
    keeper.catalog.tokens.revoke(gone_id, actor="root")
    keeper.seconds += 1
    wrong = ["", "x", text[:-1], text + "A", text.upper(), f"ff_{id}_", f"ff_{id}_{other[16:]}", "ff_" + "0" * 12 + text[15:],
             "ff_" + "a" * 100_000, "\u00e9" * 40, text.replace("f", "\u0192"), f"{text}, Bearer {text}", over, gone, f"{text}\n{text}"]
    said = set()
    for number, each in enumerate(wrong):
        with pytest.raises(Unauthenticated) as refused:
            keeper.ask(f"Bearer {each}", peer=f"10.0.1.{number}")
        said.add(str(refused.value))
    for number, header in enumerate([b"\xff\xfe", text.encode(), b"Negotiate " + text.encode(), b"Basic " + text.encode(), b"Bearer\x00" + text.encode()]):
        with pytest.raises(Unauthenticated) as refused:
            keeper.ask(header, peer=f"10.0.2.{number}")
        said.add(str(refused.value))
    assert said == {"these credentials are not accepted."}


def test_basic_takes_colons_and_any_letters_in_a_password(keeper: Any) -> None:
    keeper.user("zo\u00eb", "a:b:\u65e5\u672c\u8a9e:\U0001f600 long")
    assert keeper.ask(basic("zo\u00eb", "a:b:\u65e5\u672c\u8a9e:\U0001f600 long")).name == "zo\u00eb"
    assert keeper.ask(basic("zoe\u0308", "a:b:\u65e5\u672c\u8a9e:\U0001f600 long")).name == "zo\u00eb"
    for header in (basic("zo\u00eb", "a:b"), basic("zo\u00eb:a", "b:\u65e5\u672c\u8a9e"), basic("", ""), basic("zo\u00eb\x00", "x"),
                   "Basic " + base64.b64encode("zo\u00eb:a:b".encode("latin-1")).decode(), "Basic !!!!", "Basic", basic("x" * 5000, "y")):
        with pytest.raises(Unauthenticated):
            keeper.ask(header)


def test_whether_a_user_exists_is_said_neither_in_words_nor_in_work(keeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.user()
    keeper.user("off")
    keeper.catalog.users.disable("off", actor="root")
    keeper.user("certified", None)
    hashed: list[str] = []
    whole = secret._scrypt
    monkeypatch.setattr(secret, "_scrypt", lambda password, *more: hashed.append(password) or whole(password, *more))
    said = set()
    for name in ("ann", "off", "certified", "nobody"):
        with pytest.raises(Unauthenticated) as refused:
            keeper.ask(basic(name, "wrong password"))
        said.add(str(refused.value))
    with pytest.raises(Unauthenticated):
        keeper.ask(basic("off", PASSWORD))
    assert len(said) == 1
    assert len(hashed) == 5


def test_secrets_are_compared_in_constant_time(keeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = keeper.token()
    keeper.user()
    compared = []
    whole = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(len(a)) or whole(a, b))
    keeper.ask(f"Bearer {text}")
    keeper.ask(basic("ann", PASSWORD))
    for header in ("Bearer ff_" + "0" * 12 + text[15:], basic("nobody", PASSWORD)):
        with pytest.raises(Unauthenticated):
            keeper.ask(header)
    assert compared == [64, 32, 64, 32]


def test_what_is_kept_of_secrets_does_not_hold_them(keeper: Any) -> None:
    text, id = keeper.token()
    assert secret.password_hash(PASSWORD) != secret.password_hash(PASSWORD)
    assert PASSWORD not in secret.password_hash(PASSWORD)
    kept = keeper.catalog.tokens.find(id).digest
    assert len(kept) == 64
    assert text[16:] not in kept


def test_a_revocation_holds_as_soon_as_memory_is_over(keeper: Any) -> None:
    text, id = keeper.token(role=Role.OPERATOR)
    keeper.user()
    for end, header in ((lambda: keeper.catalog.tokens.revoke(id, actor="root"), f"Bearer {text}"),
                        (lambda: keeper.catalog.users.disable("ann", actor="root"), basic("ann", PASSWORD))):
        keeper.ask(header)
        end()
        keeper.ask(header)
        keeper.seconds += FRESH_SECONDS
        with pytest.raises(Unauthenticated):
            keeper.ask(header)


def test_a_role_that_is_taken_away_is_gone_as_soon_as_memory_is_over(keeper: Any) -> None:
    text, _ = keeper.token(role=Role.OPERATOR)
    assert Role.OPERATOR in keeper.ask(f"Bearer {text}").roles
    keeper.catalog.grants.revoke("token:ci", actor="root")
    keeper.seconds += FRESH_SECONDS
    assert keeper.ask(f"Bearer {text}").roles == frozenset()


def test_a_token_holds_no_longer_than_it_says_even_in_memory(keeper: Any) -> None:
    text, _ = keeper.token(holds=2.0)
    keeper.ask(f"Bearer {text}")
    keeper.seconds += 1.9
    keeper.ask(f"Bearer {text}")
    keeper.seconds += 0.2
    with pytest.raises(Unauthenticated):
        keeper.ask(f"Bearer {text}")


def test_a_known_password_is_hashed_once_and_a_new_one_ends_it(keeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.user()
    keeper.ask(basic("ann", PASSWORD))
    whole = secret._scrypt
    hashed: list[str] = []
    monkeypatch.setattr(secret, "_scrypt", lambda password, *more: hashed.append(password) or whole(password, *more))
    for _ in range(20):
        keeper.seconds += FRESH_SECONDS
        keeper.ask(basic("ann", PASSWORD))
    assert hashed == []
    keeper.catalog.users.set_password("ann", secret.password_hash("another password"), actor="root")
    keeper.seconds += FRESH_SECONDS
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            keeper.ask(basic("ann", PASSWORD))
    assert str(keeper.ask(basic("ann", "another password"))) == "user:ann"


def test_ten_thousand_wrong_credentials_are_slowed_and_leave_nothing_behind(keeper: Any) -> None:
    outcomes = {"wrong": 0, "slow": 0}
    for number in range(10_000):
        keeper.seconds += 0.001
        try:
            keeper.ask(f"Bearer ff_{number:012x}_{'A' * 43}")
        except SlowDown as e:
            outcomes["slow"] += 1
            assert 0 < e.seconds <= 60
        except Unauthenticated:
            outcomes["wrong"] += 1
    assert outcomes["wrong"] < 20
    assert keeper.authenticator._remembered == {}
    assert len(keeper.authenticator._peers) == 1


def test_what_is_known_of_peers_and_users_is_bounded(keeper: Any) -> None:
    for number in range(10_000):
        keeper.authenticator._peers.failed(str(number))
        keeper.authenticator._named.failed(str(number))
    assert len(keeper.authenticator._peers) == len(keeper.authenticator._named) == 4096


def test_good_credentials_in_memory_are_bounded(keeper: Any) -> None:
    text, _ = keeper.token()
    good = keeper.authenticator._good(keeper.ask(f"Bearer {text}"), "s")
    for number in range(MOST_REMEMBERED + 100):
        keeper.authenticator._remember(str(number).encode(), good)
    assert len(keeper.authenticator._remembered) == MOST_REMEMBERED


def test_who_is_known_is_not_slowed_by_others_behind_the_same_address(keeper: Any) -> None:
    text, _ = keeper.token()
    keeper.ask(f"Bearer {text}")
    for _ in range(30):
        with pytest.raises((Unauthenticated, SlowDown)):
            keeper.ask("Bearer wrong")
    keeper.seconds += FRESH_SECONDS
    for _ in range(12):
        with pytest.raises((Unauthenticated, SlowDown)):
            keeper.ask("Bearer wrong")
    assert str(keeper.ask(f"Bearer {text}")) == "token:ci"


def test_a_user_is_slowed_from_everywhere_but_never_for_long(keeper: Any) -> None:
    keeper.user()
    for number in range(12):
        with pytest.raises((Unauthenticated, SlowDown)):
            keeper.ask(basic("ann", "wrong password"), peer=f"10.0.0.{number}")
    with pytest.raises(SlowDown) as slowed:
        keeper.ask(basic("ann", PASSWORD), peer="10.9.9.9")
    assert slowed.value.seconds <= 5
    keeper.seconds += 5
    assert str(keeper.ask(basic("ann", PASSWORD), peer="10.9.9.9")) == "user:ann"


def test_an_address_of_ipv6_is_its_network() -> None:
    assert _network("2001:db8::1") == _network("2001:db8::ffff:1") != _network("2001:db8:0:1::1")
    assert _network("fe80::1%eth0") == "fe80::/64"
    assert _network("10.0.0.1") == "10.0.0.1"


def test_while_the_catalog_is_away_who_was_known_is_let_in_for_a_while(keeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = keeper.token()
    keeper.ask(f"Bearer {text}")

    def away(id: str) -> None:
        raise Unavailable("the catalog did not answer.")

    monkeypatch.setattr(keeper.catalog.tokens, "find", away)
    for _ in range(int(GRACE_SECONDS / FRESH_SECONDS) - 1):
        keeper.seconds += FRESH_SECONDS
        assert str(keeper.ask(f"Bearer {text}")) == "token:ci"
    keeper.seconds += FRESH_SECONDS
    with pytest.raises(Unavailable):
        keeper.ask(f"Bearer {text}")
    with pytest.raises(Unavailable):
        keeper.ask("Bearer ff_" + "0" * 12 + text[15:])


def test_a_certificate_is_its_users_and_no_header_passes_for_one(keeper: Any) -> None:
    keeper.user("ann", None)
    assert str(keeper.ask(certificate="ann")) == "user:ann"
    for header in ("ann", "certificate:ann", "certificate ann"):
        with pytest.raises(Unauthenticated):
            keeper.ask(header)
    with pytest.raises(Unauthenticated):
        keeper.ask("Bearer wrong", certificate="ann")
    for name in ("bob", "ann\x00", "user:ann", "x" * 10_000):
        with pytest.raises(Unauthenticated):
            keeper.ask(certificate=name)
    keeper.catalog.users.disable("ann", actor="root")
    keeper.seconds += FRESH_SECONDS
    with pytest.raises(Unauthenticated):
        keeper.ask(certificate="ann")


def test_a_refusal_is_logged_with_who_it_claimed_to_be_and_nothing_secret(keeper: Any, caplog: pytest.LogCaptureFixture) -> None:
    text, id = keeper.token()
    secret_part = text.removeprefix(f"ff_{id}_")
    wrong = text[:-1] + ("a" if text[-1] != "a" else "b")
    tried: list[tuple[Any, str]] = [
        ({"header": f"Bearer {wrong}"}, f"refused the token {id} from 10.0.0.1"),
        ({"header": "Bearer nonsense"}, "refused what is no token from 10.0.0.1"),
        ({"header": basic("ann\nadmin let in", "hush-hush-hush")}, "refused the user 'ann\\nadmin let in' from 10.0.0.1"),
        ({"header": "Digest x"}, "refused what are no credentials from 10.0.0.1"),
        ({"header": "Basic !"}, "refused what are no credentials from 10.0.0.1"),
        ({"certificate": "mallory" * 40, "peer": "2001:db8::1"}, f"refused the certificate of {('mallory' * 40)[:64]!r} from 2001:db8::1"),
    ]
    for how, _ in tried:
        with pytest.raises(Unauthenticated):
            keeper.ask(**how)
    keeper.ask(f"Bearer {text}")
    assert [r.getMessage() for r in caplog.records if r.name == "fivefold.access"] == [said for _, said in tried]
    assert secret_part not in caplog.text
    assert "hush" not in caplog.text
    # a flood is slowed down before it is looked at, and so is what it writes
    for _ in range(40):
        with pytest.raises((Unauthenticated, SlowDown)):
            keeper.ask("Bearer nonsense")
    assert len([r for r in caplog.records if r.name == "fivefold.access"]) < 20
