"""A site's own floors, a server that offers what it should not, and lines that are cut."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from small_federation import Adding, Site, expected, turn

from fivefold.core.errors import Conflict, Invalid, Unavailable
from fivefold.federated.identity.keys import Keys
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds import bodies
from fivefold.federated.rounds.bodies import Answered, Idle
from fivefold.federated.rounds.manifest import Manifest, Offer, offered
from fivefold.federated.wire import envelope
from fivefold.federated.wire.line import MemoryLine, Peer
from fivefold.federated.wire.parcels import Parcel, parcel_of

replace = msgspec.structs.replace


def said(site: Site) -> str:
    return " ".join(site.said)


@pytest.mark.parametrize(("policy", "given", "why"), [
    ({}, {"mode": "plain"}, "mode 'plain' .the policy here accepts one of secure"),
    ({"min_clients": 5}, {}, "clients 4 .the policy here accepts at least 5"),
    ({"min_survivors": 4, "min_clients": 4}, {}, "min_survivors 3 .the policy here accepts at least 4"),
    ({"corrupt": 34}, {}, "corrupt 33"),
    ({"length": 5}, {}, "length 6"),
    ({"model_bytes": 10}, {}, "model"),
    ({"definitions": "abc"}, {"definitions": "def"}, "definitions 'def' .the policy here accepts abc"),
    ({"code": "abc"}, {}, "code ''"),
    ({"epsilon": 0.05}, {}, "epsilon 0.1 .the policy here accepts up to 0.05"),
    ({"peers": {}}, {}, "not among the peers of the policy"),
])
def test_a_manifest_below_a_floor_is_refused_and_nothing_is_computed(make: Callable[..., Any], policy: Any, given: Any, why: str) -> None:
    _, sites = make(policy=policy, **given)
    turn(sites, 4)
    assert all(re.search(why, said(site)) for site in sites)
    if "peers" not in policy:
        assert [site.worked for site in sites] == [[]] * 4
    assert all(site.part._sum is None for site in sites)


def test_epsilon_is_checked_before_each_round(make: Callable[..., Any]) -> None:
    server, sites = make(rounds=3, policy={"epsilon": 0.2})
    turn(sites, 30)
    assert [site.worked for site in sites] == [[1, 2]] * 4
    assert server.coordinators["counts"].state["total"].tolist() == expected([s.name for s in sites], [1, 2])


def test_peers_whose_keys_are_known_are_accepted(make: Callable[..., Any]) -> None:
    server, sites = make(rounds=1)
    peers = {s.name: s.keys.public.hex() for s in sites}
    for site in sites:
        site.policy = replace(site.policy, peers=peers)
        site.part.close()
        site.start()
    turn(sites, 12)
    assert server.coordinators["counts"].over


class Lying:
    """A server that changes its offers to one site; its own key signs them."""

    def __init__(self, server: Any, site: Site) -> None:
        self.server, self.site = server, site
        self.keys = Keys(server.folder / "authority" / "server", "server")
        self.change: Callable[[Any], Any] = lambda reply: reply
        site.part._line = MemoryLine(self.answer, Peer("", ""))

    def answer(self, peer: Peer, request: bytes) -> bytes:
        asked = envelope.read(request)
        line = self.site.connect()
        reply = envelope.read(line.call(request))
        if asked.method != bodies.NEXT:
            return envelope.write(reply)
        body = bodies.decode(bodies.decode(reply.body, Answered).body, bodies.Next)  # type: ignore[arg-type]
        changed = bodies.encode(Answered(bodies.encode(self.change(body))))
        return envelope.write(envelope.seal(self.keys.sign, asked.method, "server", changed, task=asked.task, nonce=asked.nonce))

    def other(self, offer: Offer, **changes: Any) -> Offer:
        manifest = msgspec.msgpack.decode(offer.manifest, type=Manifest)
        return offered(replace(manifest, **changes), self.keys.sign)


def test_a_second_manifest_for_a_round_is_refused(make: Callable[..., Any]) -> None:
    server, sites = make()
    turn(sites)
    lying = Lying(server, sites[0])
    turn(sites[:1])
    offer: Any = server.coordinators["counts"]._live.offer
    assert sites[0].worked == [1]
    lying.change = lambda _: lying.other(offer, settings={"another": "model"})
    turn(sites[:1])
    assert "round 1 was offered with another manifest: the server is not honest" in said(sites[0])
    assert sites[0].part._sum is None
    lying.change = lambda reply: reply
    turn(sites, 15)
    assert sites[0].worked == [1]


def test_a_round_is_never_done_again_not_even_after_a_restart(make: Callable[..., Any]) -> None:
    server, sites = make(rounds=1)
    turn(sites)
    turn(sites[:1])
    offer = server.coordinators["counts"]._live.offer
    turn(sites, 12)
    assert server.coordinators["counts"].over
    for restart in (False, True):
        if restart:
            sites[0].part.close()
            sites[0].start()
        lying = Lying(server, sites[0])
        lying.change = lambda _: offer
        turn(sites[:1], 2)
        assert sites[0].worked == [1]


def test_a_manifest_that_the_server_has_not_signed_is_refused(make: Callable[..., Any]) -> None:
    server, sites = make()
    lying = Lying(server, sites[0])
    lying.change = lambda reply: replace(reply, signature=bytes(64)) if isinstance(reply, Offer) else reply
    turn(sites, 2)
    assert "not one that the server has signed" in said(sites[0])
    assert sites[0].worked == []


def test_a_manifest_of_another_federation_is_refused(make: Callable[..., Any]) -> None:
    server, sites = make()
    lying = Lying(server, sites[0])
    lying.change = lambda reply: lying.other(reply, task="others") if isinstance(reply, Offer) else reply
    turn(sites, 2)
    assert "the manifest is of 'others'" in said(sites[0])


def test_two_models_in_a_round_give_no_sum(make: Callable[..., Any], clock: Any) -> None:
    """One site is offered another model than the others: its signature over its keys fits no other session."""
    server, sites = make(rounds=1, attempts=1, quorum=4, min_survivors=4, seconds=100)
    lying = Lying(server, sites[0])
    lying.change = lambda reply: lying.other(reply, settings="for you alone") if isinstance(reply, Offer) else reply
    turn(sites, 4)
    assert "the keys of 'ada': the signature does not hold" in said(sites[0])
    assert sites[0].part._sum is None


def test_replies_that_are_not_signed_or_to_another_question_are_refused(make: Callable[..., Any]) -> None:
    _, sites = make()
    site = sites[0]
    honest = site.connect()

    def changed(**changes: Any) -> Callable[[Peer, bytes], bytes]:
        return lambda peer, request: envelope.write(replace(envelope.read(honest.call(request)), **changes))

    for answer, why in ((changed(body=b""), "not signed"), (changed(round=7), "not signed")):
        site.part._line = MemoryLine(answer, Peer("", ""))
        with pytest.raises(Refused, match=why):
            site.part.turn()
    earlier: list[bytes] = []

    def replayed(peer: Peer, request: bytes) -> bytes:
        earlier.append(honest.call(request))
        return earlier[0]

    site.part._line = MemoryLine(replayed, Peer("", ""))
    site.part.turn()
    with pytest.raises(Refused, match="to another question"):
        site.part.turn()


def test_an_answer_that_was_lost_is_sent_again_and_another_one_is_refused(make: Callable[..., Any]) -> None:
    server, sites = make()
    turn(sites, 2)
    site, coordinator = sites[0], server.coordinators["counts"]
    asked: list[bytes] = []
    site.cut = lambda request: asked.append(request) if envelope.read(request).method == bodies.ANSWER else None
    while not asked:
        turn(sites)
    again = envelope.read(asked[0])
    sent = bodies.decode(again.body, bodies.Sent)
    before = server.catalog.rounds.log("counts", again.round)
    coordinator.answer(site.name, again.round, again.step, sent, again.digest)
    assert server.catalog.rounds.log("counts", again.round) == before
    other = replace(sent, message=replace(sent.message, commitment=bytes(32)) if hasattr(sent.message, "commitment") else replace(sent.message, signature=bytes(64)))
    with pytest.raises((Refused, Conflict)):
        coordinator.answer(site.name, again.round, again.step, other, "another")
    site.cut = lambda request: None
    turn(sites, 20)
    assert coordinator.over


@pytest.mark.parametrize("length", [6, 400_000])
@pytest.mark.parametrize("method", [bodies.NEXT, bodies.ANSWER, bodies.ANNOUNCE, bodies.PUT])
def test_every_third_reply_is_lost_and_nobody_drops_out(make: Callable[..., Any], method: str, length: int) -> None:
    server, sites = make(length=length)
    calls = [0]

    def lose(request: bytes) -> None:
        if envelope.read(request).method == method:
            calls[0] += 1
            if calls[0] % 3 == 0:
                raise Unavailable("the reply was lost.")

    for site in sites:
        site.lose = lose
    for _ in range(40):
        for site in sites:
            with suppress(Unavailable):
                site.part.turn()
    assert [r.survivors for r in server.catalog.rounds.all("counts")] == [[["ada", "bob", "cyd", "dee"]]] * 2
    assert calls[0] >= (6 if length > 6 or method in (bodies.NEXT, bodies.ANSWER) else 0)


@pytest.mark.parametrize("mode", ["secure", "plain"])
def test_a_large_vector_goes_on_where_the_line_was_cut(make: Callable[..., Any], mode: str) -> None:
    server, sites = make(length=1_200_000, rounds=1, mode=mode, policy={"modes": (mode,)})
    site, chunks = sites[0], []
    left = [2]

    def cut(request: bytes) -> None:
        asked = envelope.read(request)
        if asked.method == bodies.PUT:
            left[0] -= 1
            if left[0] == 0:
                raise Unavailable("the line was cut.")
            chunks.append(asked.digest)

    site.cut = cut
    for _ in range(15):
        with suppress(Unavailable):
            turn(sites[:1])
        turn(sites[1:])
    assert server.coordinators["counts"].over
    assert server.coordinators["counts"].state["total"].tolist()[:3] == [
        sum(int(s.work(type("M", (), {"round": 1, "length": 1_200_000})(), {})[i]) for s in sites) for i in range(3)]
    # 18 bits each: three chunks of 1 MiB, none of which was sent twice
    assert len(chunks) == len(set(chunks)) == 3


def test_a_model_is_fetched_once_and_goes_on_where_the_line_was_cut(make: Callable[..., Any]) -> None:
    class Large(Adding):
        def broadcast(self, state: Any) -> Any:
            return {"weights": np.arange(600_000, dtype=np.float64)}

    server, sites = make(rule=Large(), rounds=2)
    site, got, left = sites[0], [], [3]

    def cut(request: bytes) -> None:
        asked = envelope.read(request)
        if asked.method == bodies.GET:
            left[0] -= 1
            if left[0] == 0:
                raise Unavailable("the line was cut.")
            got.append(asked.body)

    site.cut = cut
    for _ in range(25):
        with suppress(Unavailable):
            turn(sites[:1])
        turn(sites[1:])
    assert server.coordinators["counts"].over
    assert len(got) == len(set(got)) == 5
    # and what is of no use any more is not kept
    assert len(list(site.part._store.list())) == 5
    assert site.worked == [1, 2]


def test_more_than_was_agreed_on_is_refused_before_it_is_sent(make: Callable[..., Any]) -> None:
    server, sites = make()
    turn(sites, 2)
    coordinator = server.coordinators["counts"]
    live = coordinator._live
    step = live.gatherings[0].step
    with pytest.raises(Refused, match="1000000000000 bytes are announced"):
        coordinator.announce("ada", 1, step, Parcel(10**12, bytes(32)))
    with pytest.raises(Refused, match="are not 3 chunks"):
        coordinator.announce("ada", 1, step, Parcel(10, bytes(96)))
    with pytest.raises(Unavailable, match="not announced"):
        coordinator.put("ada", b"anything")
    parcel = parcel_of(bytes(10))
    assert coordinator.announce("ada", 1, step, parcel).digests == parcel.chunks
    with pytest.raises(Unavailable, match="not announced"):
        coordinator.put("bob", bytes(10))


def test_a_site_whose_work_fails_is_out_of_the_round_alone(make: Callable[..., Any]) -> None:
    server, sites = make(rounds=1)

    def fails(manifest: Any, model: Any) -> Any:
        raise Invalid("no rows.")

    sites[3].start(fails)
    for _ in range(14):
        turn(sites)
        server.clock.pass_(50)
    assert "out of round 1: no rows" in said(sites[3])
    assert server.catalog.rounds.all("counts")[-1].survivors == [["ada", "bob", "cyd"]]


def test_certificates_are_renewed_at_half_their_life_and_rounds_go_on(make: Callable[..., Any], clock: Any) -> None:
    server, sites = make(rounds=1)
    before = [s.keys.certificate for s in sites]
    clock.pass_(16 * 86400)
    for site in sites:
        site.part._renew()
    after = [s.keys.certificate for s in sites]
    assert not set(before) & set(after)
    turn(sites, 12)
    assert server.coordinators["counts"].over
    over = threading.Event()
    sites[0].part.run(over)
    assert said(sites[0]).endswith("there are no more rounds.")
    assert isinstance(sites[0].part.turn(), Idle)
