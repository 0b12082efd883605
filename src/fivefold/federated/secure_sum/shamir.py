"""Secret sharing: any `threshold` shares give the secret, fewer say nothing about it (Shamir, CACM 1979)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from fivefold.federated.refusals import Refused

PRIME = 2**256 + 297
"""The smallest prime above 2**256, so that any 32 bytes are a secret."""

SHARE_BYTES = 33
_COEFFICIENT_BYTES = 48
"""128 bits more than the prime has: what is left of them by the modulus is as good as uniform."""


def split(secret: bytes, threshold: int, places: Sequence[int], random: Callable[[int], bytes]) -> list[bytes]:
    """Shares of a secret of 32 bytes, 33 bytes each, one for each place (distinct positive numbers).

    The polynomial has the secret, big-endian, at 0; its other coefficients are read from
    `random(48 * (threshold - 1))`, 48 big-endian bytes each, the highest first.
    """
    drawn = random(_COEFFICIENT_BYTES * (threshold - 1))
    coefficients = [
        int.from_bytes(drawn[i : i + _COEFFICIENT_BYTES]) % PRIME for i in range(0, len(drawn), _COEFFICIENT_BYTES)
    ]
    coefficients.append(int.from_bytes(secret))
    shares = []
    for place in places:
        value = 0
        for coefficient in coefficients:
            value = value * place + coefficient
        shares.append((value % PRIME).to_bytes(SHARE_BYTES))
    return shares


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of shares by place, from the first `threshold` of them.

    Raises Refused when there are too few, or when they are not shares of 32 bytes: some were made up.
    """
    places = tuple(sorted(shares)[:threshold])
    if len(places) < threshold:
        raise Refused(f"{len(places)} shares were given where {threshold} are needed.")
    values = [int.from_bytes(shares[place]) for place in places]
    secret = sum(map(int.__mul__, _weights(places), values)) % PRIME
    if secret >> 256:
        raise Refused("the shares do not belong together.")
    return secret.to_bytes(32)


@lru_cache(maxsize=512)
def _weights(places: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's coefficients at 0, with one inversion for all of them."""
    product = math.prod(places)
    # w_i = prod_{j != i} x_j / (x_j - x_i) = product / (x_i * prod_{j != i} (x_j - x_i))
    below = [x * math.prod([other - x for other in places if other != x]) % PRIME for x in places]
    before = [1]
    for value in below:
        before.append(before[-1] * value % PRIME)
    inverse = pow(before[-1], -1, PRIME)
    weights = [0] * len(places)
    for i in reversed(range(len(places))):
        weights[i] = product * inverse * before[i] % PRIME
        inverse = inverse * below[i] % PRIME
    return tuple(weights)
