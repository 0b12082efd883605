"""The sum is exact whoever drops out and whenever, or there is none: nothing in between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sum_people import Play, identify, terms

from fivefold.federated.refusals import Aborted
from fivefold.federated.secure_sum.messages import Masked
from fivefold.federated.secure_sum.server import Step, SumServer

STEPS = [s for s in Step if s is not Step.OVER]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(2, 9), corrupt=st.sampled_from([0, 20, 33, 49]), bits=st.integers(1, 60))
def test_exact_for_whoever_drops_out_at_any_step_or_a_clean_abort(data: st.DataObject, count: int, corrupt: int, bits: int) -> None:
    play = Play(count, length=7, corrupt=corrupt, bits=bits, seed=data.draw(st.integers(0, 99)))
    lost = {step: data.draw(st.sets(st.sampled_from(sorted(play.clients)), max_size=max(1, count // 2))) for step in STEPS}
    left, least, enough, summed = set(play.clients), 2, True, set[str]()
    for step in STEPS:
        left -= lost[step]
        enough = enough and len(left) >= least
        if step is Step.ADVERTS:
            least = max(2, (len(left) + len(left) * corrupt // 100) // 2 + 1)
        if step is Step.MASKED:
            summed = set(left)
    if enough:
        result = play.run(lost)
        assert result.survivors == tuple(sorted(summed))
        assert result.values.tolist() == play.sum_of(summed)
    else:
        with pytest.raises(Aborted):
            play.run(lost)
        assert play.server.result is None


def test_a_ring_of_many_with_dropouts_at_every_step_is_exact() -> None:
    play = Play(130, length=3, corrupt=10, dropout=10)
    names = sorted(play.clients)
    lost = {step: names[20 * i : 20 * i + 2] for i, step in enumerate(STEPS)}
    result = play.run(lost)
    gone = {n for step in (Step.ADVERTS, Step.SHARES, Step.MASKED) for n in lost[step]}
    assert not play.server._graph.complete
    assert result.survivors == tuple(n for n in names if n not in gone)
    assert result.values.tolist() == play.sum_of(result.survivors)


def test_the_greatest_values_of_all_do_not_overflow() -> None:
    agreed = terms(5, bits=30, max_weight=7)
    assert agreed.modulus_bits == 36
    assert Play(5, agreed, all_of=agreed.most).run().values.tolist() == [5 * 7 * (2**30 - 1)] * 5


def test_the_same_messages_give_the_same_sum_and_replies() -> None:
    play = Play(4)
    other = SumServer(play.terms, list(play.clients), identify)
    while play.server.step is not Step.OVER:
        for message in reversed(play.outbox.values()):
            other.accept(message)
        assert play.deliver() == other.close()
        play.answer()
    assert play.server.result is not None
    assert other.result is not None
    assert play.server.result.values.tolist() == other.result.values.tolist()


@pytest.mark.parametrize("bits", [7, 16, 31, 33, 64 - 3])
def test_masked_vectors_of_zeros_are_uniform(bits: int) -> None:
    play = Play(3, terms(3, 40_000, bits=bits), all_of=0).until(Step.MASKED)
    r = play.terms.modulus_bits
    for message in play.outbox.values():
        assert isinstance(message, Masked)
        values = play.server._ring.reduced(play.server._ring.unpack(message.data, 40_000))
        # the highest bits and the lowest: chi-square, 5 sigma
        for part in (values >> np.uint64(max(0, r - 8)), values & np.uint64(255)):
            cells = 1 << min(8, r)
            seen = np.bincount(part.astype(np.int64), minlength=cells)
            expected = 40_000 / cells
            chi = float(((seen - expected) ** 2 / expected).sum())
            assert abs(chi - (cells - 1)) < 5 * np.sqrt(2 * (cells - 1)), (bits, chi)
        # no bit goes with the one before it
        flips = np.unpackbits(values.view(np.uint8).reshape(-1, 8)[:, : max(1, r // 8)])
        assert abs(float(flips.mean()) - 0.5) < 5 * 0.5 / np.sqrt(flips.size)
    assert len({bytes(m.data) for m in play.outbox.values() if isinstance(m, Masked)}) == 3


def test_two_rounds_of_the_same_vector_have_no_mask_in_common() -> None:
    seen = []
    for _ in range(2):
        play = Play(3, length=64).until(Step.MASKED)
        seen += [m.data for m in play.outbox.values() if isinstance(m, Masked)]
    assert len(set(seen)) == 6
