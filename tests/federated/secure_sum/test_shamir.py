from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sum_reference import Drawn, share

from fivefold.federated.refusals import Refused
from fivefold.federated.secure_sum.shamir import PRIME, combine, split


@given(secret=st.binary(min_size=32, max_size=32), threshold=st.integers(1, 8), data=st.data())
def test_any_threshold_of_shares_give_the_secret(secret: bytes, threshold: int, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, 1000), min_size=threshold, max_size=12, unique=True))
    shares = dict(zip(places, split(secret, threshold, places, Drawn("a")), strict=True))
    assert shares == share(secret, threshold, places, Drawn("a"))
    chosen = data.draw(st.permutations(places))[:threshold]
    assert combine({p: shares[p] for p in chosen}, threshold) == secret


def test_fewer_shares_are_refused_and_say_nothing() -> None:
    shares = dict(enumerate(split(b"s" * 32, 3, [1, 2, 3], os.urandom), 1))
    with pytest.raises(Refused, match="2 shares were given where 3"):
        combine({1: shares[1], 2: shares[2]}, 3)
    # whatever the secret is, some third share leads to it
    x1, x2 = (int.from_bytes(shares[i]) for i in (1, 2))
    for wanted in (0, 1, 2**256 - 1):
        third = (x1 * -3 + x2 * 3 + wanted) % PRIME  # of the parabola through (0, wanted), (1, x1), (2, x2)
        assert combine({1: shares[1], 2: shares[2], 3: third.to_bytes(33)}, 3) == wanted.to_bytes(32)


def test_shares_that_do_not_belong_together_are_refused_or_another_secret() -> None:
    shares = dict(enumerate(split(bytes(32), 2, [1, 2], lambda n: bytes(n)), 1))
    with pytest.raises(Refused, match="belong together"):
        combine({1: (0).to_bytes(33), 2: (1).to_bytes(33)}, 2)
    assert combine(shares, 2) == bytes(32)


def test_the_prime_is_one() -> None:
    import sympy

    assert sympy.isprime(PRIME)
    assert not any(map(sympy.isprime, range(2**256, PRIME)))
