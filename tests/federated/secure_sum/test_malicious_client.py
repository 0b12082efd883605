"""Clients that cheat: the server refuses what it can see, and never gives out a sum that is not one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from sum_people import Play, client, terms

from fivefold.core.errors import Invalid
from fivefold.federated.refusals import Aborted, Refused
from fivefold.federated.secure_sum.messages import Masked, Unmask
from fivefold.federated.secure_sum.server import Step

replace = msgspec.structs.replace
ONE = "c0000"


def refused(play: Play, message: Any, why: str) -> None:
    before = play.server.waiting
    with pytest.raises(Refused, match=why):
        play.server.accept(message)
    assert play.server.waiting == before


def test_a_vector_of_another_length_is_refused_and_the_sum_goes_on() -> None:
    play = Play(5).until(Step.MASKED)
    short: Any = play.outbox.pop(ONE)
    refused(play, Masked(ONE, short.data[:-1]), "bytes, not 12")
    refused(play, Masked(ONE, short.data + b"\0"), "bytes, not 12")
    assert play.run().survivors == ("c0001", "c0002", "c0003", "c0004")


def test_a_second_message_in_a_step_is_refused() -> None:
    play = Play(3).until(Step.MASKED)
    play.server.accept(play.outbox[ONE])
    refused(play, play.outbox[ONE], "has answered already")
    refused(play, Masked(ONE, bytes(12)), "has answered already")


def test_messages_of_other_steps_and_of_strangers_are_refused() -> None:
    play = Play(4)
    adverts = dict(play.outbox)
    play.until(Step.SHARES)
    refused(play, adverts[ONE], "sent Advert while the step is shares")
    stranger = replace(play.outbox[ONE], client="mallory")
    refused(play, stranger, "'mallory' does not take part")


def test_who_dropped_out_cannot_come_back() -> None:
    play = Play(5).until(Step.MASKED)
    late = play.outbox["c0004"]
    play.deliver(lost=["c0004"])
    refused(play, late, "sent Masked while the step is consents")
    play.answer()
    assert play.run().survivors == ("c0000", "c0001", "c0002", "c0003")


def test_adverts_that_are_not_signed_or_of_another_size_are_refused() -> None:
    play = Play(3)
    advert: Any = play.outbox[ONE]
    refused(play, replace(advert, mask_key=advert.cipher_key), "signature does not hold")
    refused(play, replace(advert, mask_key=b"short"), "32 bytes")
    refused(play, replace(advert, credential=b"of another authority"), "credential")


def test_shares_for_strangers_or_of_another_size_are_refused() -> None:
    play = Play(3).until(Step.SHARES)
    shares: Any = play.outbox[ONE]
    for sealed in ({}, {1: shares.sealed[1]}, {**shares.sealed, 0: shares.sealed[1]}, {**shares.sealed, 1: b"short"}):
        refused(play, replace(shares, sealed=sealed), "not one sealed pair for each neighbour")
    refused(play, replace(shares, commitment=b""), "not one sealed pair")


def test_a_consent_to_something_else_is_refused() -> None:
    play = Play(3).until(Step.CONSENTS)
    refused(play, replace(play.outbox[ONE], signature=bytes(64)), "consent of 'c0000'")


def test_made_up_shares_of_one_client_are_left_out() -> None:
    play = Play(6, corrupt=0).until(Step.MASKED)
    play.deliver(lost=["c0005"])
    play.answer()
    play.until(Step.UNMASK)
    cheat: Any = play.outbox[ONE]
    play.outbox[ONE] = Unmask(ONE, {i: bytes(32) + b"\x07" for i in cheat.shares})
    result = play.run()
    assert result.values.tolist() == play.sum_of(list(play.clients)[:5])


def test_made_up_shares_of_many_end_the_sum_without_one() -> None:
    play = Play(6).until(Step.UNMASK)
    for name in list(play.outbox)[:4]:
        cheat: Any = play.outbox[name]
        play.outbox[name] = Unmask(name, dict.fromkeys(cheat.shares, b"\xff" * 33))
    with pytest.raises(Aborted, match="cannot be taken away"):
        play.run()
    assert play.server.result is None


def test_shares_of_strangers_are_refused_in_the_last_step() -> None:
    play = Play(3).until(Step.UNMASK)
    refused(play, Unmask(ONE, {7: bytes(33)}), "others than its neighbours")
    refused(play, Unmask(ONE, {0: bytes(5)}), "33 bytes")


@pytest.mark.parametrize(("vector", "why"), [
    (np.array([1.0, 2, 3, 4, 5]), "float64"),
    (np.array([1, 2, 3, 4, -5]), "int64"),
    (np.array([1, 2, 3, 4, 2**16], np.uint64), "holds 65536 at 4"),
    (np.zeros((5, 1), np.uint64), "shape"),
    (np.zeros(4, np.uint64), "4 values where the terms say 5"),
])
def test_a_vector_that_would_wrap_around_is_refused_at_the_client(vector: Any, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        client(terms(3), ONE, vector)
