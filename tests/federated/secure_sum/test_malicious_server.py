"""A server that cheats: honest clients refuse, and what they have said by then gives no vector away."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sum_people import Play, client, identity, terms

from fivefold.federated.refusals import Aborted, Refused
from fivefold.federated.secure_sum.messages import (
    Advert,
    Consents,
    Delivery,
    Roster,
    Survivors,
    bitmap,
    consent_over,
)
from fivefold.federated.secure_sum.server import Step, SumServer

replace = msgspec.structs.replace
ONE = "c0000"


def refuses(play: Play, message: Any, why: str) -> None:
    """A client refuses a message, holds nothing any more, and does nothing else in this round either."""
    honest = play.clients[ONE]
    with pytest.raises(Refused, match=why):
        honest.receive(message)
    assert (honest._secrets, honest._held, honest._opening, honest._words) == ({}, {}, {}, None)
    for later in play.sent.values():
        with pytest.raises(Refused, match="taken already"):
            honest.receive(later)


def told(play: Play) -> Any:
    return play.deliver()[ONE]


def own_advert(play: Play, name: str, by: str, session: bytes | None = None) -> Advert:
    """An advert with keys that the server has chosen."""
    unsigned = Advert(name, bytes(31) + b"\x01", bytes(31) + b"\x02", b"", b"")
    return replace(unsigned, signature=identity(by).sign(unsigned.signed(session or play.terms.session)))


def with_advert(roster: Roster, index: int, advert: Advert, session: bytes) -> Roster:
    digests = roster.digests[: 32 * index] + advert.digest(session) + roster.digests[32 * index + 32 :]
    return replace(roster, digests=digests, adverts={**roster.adverts, index: advert})


def test_keys_swapped_for_its_own_are_refused() -> None:
    play = Play(4)
    roster = told(play)
    swapped = own_advert(play, "c0001", by="the server")
    refuses(play, with_advert(roster, 1, swapped, play.terms.session), "keys of 'c0001': the signature")


def test_keys_that_are_not_those_of_the_roster_are_refused() -> None:
    play = Play(4)
    roster = told(play)
    refuses(play, replace(roster, adverts={**roster.adverts, 1: own_advert(play, "c0001", by="c0001")}), "not those in the roster")


def test_its_own_keys_for_mine_are_refused() -> None:
    play = Play(4)
    roster = told(play)
    refuses(play, with_advert(roster, 0, own_advert(play, ONE, by=ONE), play.terms.session), "my own keys")


def test_keys_of_another_round_are_refused() -> None:
    earlier, play = Play(4, session=bytes(32)), Play(4)
    old: Any = earlier.outbox["c0001"]
    refuses(play, with_advert(told(play), 1, old, play.terms.session), "signature does not hold")


def test_an_unknown_credential_is_refused() -> None:
    play = Play(4)
    roster = told(play)
    forged = replace(roster.adverts[1], credential=b"of another authority")
    refuses(play, with_advert(roster, 1, forged, play.terms.session), "credential of 'c0001'")


@pytest.mark.parametrize(("make", "why"), [
    (lambda r: replace(r, digests=r.digests + r.digests[:32]), "5 clients take part"),
    (lambda r: replace(r, digests=r.digests[:96] + r.digests[:32]), "in the roster twice"),
    (lambda r: replace(r, digests=r.digests[:-1]), "4 clients take part"),
    (lambda r: replace(r, digests=r.digests[:32]), "1 clients take part"),
    (lambda r: replace(r, index=1), "my own keys"),
    (lambda r: replace(r, index=-1), "my own keys"),
    (lambda r: replace(r, index=99), "my own keys"),
    (lambda r: replace(r, adverts={}), "not those of my neighbours"),
    (lambda r: replace(r, adverts={**r.adverts, 9: r.adverts[1]}), "not those of my neighbours"),
])
def test_a_roster_that_does_not_add_up_is_refused(make: Any, why: str) -> None:
    play = Play(4)
    refuses(play, make(told(play)), why)


def test_one_client_under_two_names_is_refused() -> None:
    play = Play(4)
    roster = told(play)
    twin = replace(roster.adverts[1], client="c0002", signature=b"")
    twin = replace(twin, signature=identity("c0002").sign(twin.signed(play.terms.session)))
    refuses(play, with_advert(roster, 2, twin, play.terms.session), "one key")


@pytest.mark.parametrize("field", ["cipher_key", "mask_key"])
@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"short"])
def test_keys_of_low_order_are_refused_though_a_corrupt_client_has_signed_them(field: str, key: bytes) -> None:
    play = Play(4)
    roster = told(play)
    weak = replace(roster.adverts[1], **{field: key})
    weak = replace(weak, signature=identity("c0001").sign(weak.signed(play.terms.session)))
    honest, changed = play.clients[ONE], with_advert(roster, 1, weak, play.terms.session)
    if field == "mask_key":
        sealed: Any = honest.receive(changed)
        refuses(play, Delivery(dict(sealed.sealed)), "not one of X25519")
    else:
        refuses(play, changed, "not one of X25519")


def test_a_small_cohort_is_refused() -> None:
    play = Play(6, min_survivors=5)
    lonely = SumServer(terms(6), list(play.clients), lambda name, _: identity(name).public_key().public_bytes_raw())
    for name in [ONE, "c0001", "c0002"]:
        lonely.accept(play.outbox[name])
    refuses(play, lonely.close()[ONE], "3 clients take part .accepted: 5 to 6")


def test_a_large_cohort_whose_sum_could_overflow_is_refused() -> None:
    play, many = Play(4), terms(9)
    server = SumServer(many, [f"c{i:04}" for i in range(9)], lambda name, _: identity(name).public_key().public_bytes_raw())
    for message in play.outbox.values():
        server.accept(message)
    for i in range(4, 9):
        server.accept(client(many, f"c{i:04}", Play(9, many).vectors[f"c{i:04}"]).advertise())
    refuses(play, server.close()[ONE], "9 clients take part")


def test_shares_of_too_few_or_of_strangers_are_refused() -> None:
    for make in (lambda d: Delivery({1: d.sealed[1]}), lambda d: Delivery({**d.sealed, 0: d.sealed[1]}), lambda d: Delivery({**d.sealed, 7: d.sealed[1]})):
        play = Play(4).until(Step.SHARES)
        refuses(play, make(told(play)), "shares came from")


def test_two_sets_of_survivors_find_no_consents() -> None:
    """Split views: half of the clients are told that the victim is alive, the others that it is gone."""
    play = Play(7).until(Step.MASKED)
    play.deliver()
    everybody, without = bitmap(range(7), 7), bitmap([0, 1, 2, 3, 4, 6], 7)
    consents = {}
    for i, name in enumerate(sorted(play.clients)):
        if i != 5:
            consents[i] = play.clients[name].receive(Survivors(everybody if i < 3 else without))
    signatures = {i: c.signature for i, c in consents.items() if i}
    refuses(play, Consents(signatures), "the consent of 3")
    second = play.clients["c0001"]
    with pytest.raises(Refused, match="1 neighbours consent, 4 are needed"):
        second.receive(Consents({i: s for i, s in {0: consents[0].signature, 2: consents[2].signature}.items() if i == 2}))


def test_survivors_who_never_sent_shares_or_do_not_exist_are_refused() -> None:
    for alive, why in ((bitmap(range(5), 5) + b"\x00", "bitmap"), (b"\xff", "bitmap"), (b"", "bitmap"),
                       (bitmap([1, 2, 3, 4], 5), "in which I am alive"), (bitmap(range(5), 5), "had not sent"),
                       (bitmap([0, 1], 5), "2 clients are in the sum")):
        play = Play(5).until(Step.SHARES)
        play.deliver(lost=["c0004"])
        play.answer()
        play.deliver()
        refuses(play, Survivors(alive), why)


def test_too_few_survivors_are_refused() -> None:
    play = Play(6, min_survivors=5, corrupt=0).until(Step.MASKED)
    play.deliver(lost=["c0005"])
    refuses(play, Survivors(bitmap(range(4), 6)), "4 clients are in the sum, and at least 5 must")


def test_consents_of_strangers_twice_or_forged_are_refused() -> None:
    def ready() -> tuple[Play, Consents]:
        play = Play(5).until(Step.CONSENTS)
        return play, told(play)

    play, consents = ready()
    refuses(play, Consents({**consents.signatures, 0: consents.signatures[1]}), "names of .0.")
    play, consents = ready()
    refuses(play, Consents({**consents.signatures, 1: consents.signatures[2]}), "consent of 1")
    play, consents = ready()
    signed = consent_over(play.terms.session, bytes(32), bitmap(range(5), 5))
    refuses(play, Consents({**consents.signatures, 1: identity("c0001").sign(signed)}), "consent of 1")
    play, consents = ready()
    refuses(play, Consents({1: consents.signatures[1]}), "1 neighbours consent")


def test_a_second_unmasking_is_refused() -> None:
    play = Play(5).until(Step.UNMASK)
    honest = play.clients[ONE]
    for message in (Consents({}), Survivors(bitmap(range(1, 5), 5))):
        with pytest.raises(Refused, match="taken already"):
            honest.receive(message)


def test_nobody_gives_both_shares_of_anybody_and_secrets_are_gone_afterwards() -> None:
    play = Play(5).until(Step.MASKED)
    play.deliver(lost=["c0003"])
    play.answer()
    held = {name: dict(c._held) for name, c in play.clients.items()}
    play.deliver()
    play.answer()
    for name, message in play.outbox.items():
        shares: Any = message.shares  # type: ignore[union-attr]
        assert set(shares) == {0, 1, 2, 3, 4}
        assert all(shares[i] == held[name][i][1 if i == 3 else 0] for i in shares)
        honest = play.clients[name]
        assert (honest._secrets, honest._held, honest._opening, honest._words) == ({}, {}, {}, None)


def test_another_manifest_for_one_client_spoils_the_sum_and_shows_nothing() -> None:
    """Two models in a round: what the victim masks under another session cancels with nobody's masks."""
    play = Play(4)
    stranger = client(terms(4, session=bytes(32)), ONE, play.vectors[ONE])
    with pytest.raises(Refused, match="signature does not hold"):
        play.server.accept(stranger.advertise())
    roster = told(play)
    with pytest.raises(Refused, match="my own keys"):
        stranger.receive(roster)


def test_a_roster_shown_to_one_client_alone_opens_no_share() -> None:
    """The root of the roster salts every key: who saw another roster can be given nothing by the others."""
    play = Play(5)
    play.deliver()
    # the server leaves c0004 out for one client only
    other = SumServer(play.terms, list(play.clients), lambda name, _: identity(name).public_key().public_bytes_raw())
    for name in list(play.clients)[:4]:
        other.accept(play.clients[name]._advert)
    play.outbox = {name: play.clients[name].receive(play.sent[name]) for name in list(play.clients)[1:]}
    alone: Any = play.clients[ONE].receive(other.close()[ONE])
    sealed: Any = {i: play.outbox[f"c{i:04}"].sealed[0] for i in (1, 2, 3)}  # type: ignore[union-attr]
    assert len(alone.sealed) == 3
    play.clients[ONE].receive(Delivery(sealed))
    assert list(play.clients[ONE]._held) == [0]


def test_who_seals_rubbish_harms_nobody_but_itself() -> None:
    play = Play(7).until(Step.SHARES)
    rubbish: Any = play.outbox["c0006"]
    play.outbox["c0006"] = replace(rubbish, sealed={**rubbish.sealed, 0: bytes(94), 1: rubbish.sealed[2]})
    result = play.run()
    assert result.values.tolist() == play.sum_of(play.clients)
    play = Play(7).until(Step.SHARES)
    play.outbox["c0006"] = replace(rubbish, sealed={i: bytes(94) for i in range(6)})
    with pytest.raises(Aborted, match="'c0006'"):
        play.run()
