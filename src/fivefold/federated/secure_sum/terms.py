"""What a secure sum is about, agreed on before it begins."""

from __future__ import annotations

import msgspec

from fivefold.core.errors import Invalid

MOST_CLIENTS = 20_000
MOST_LENGTH = 1 << 31
MOST_BITS = 64


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of one sum: `length` values of a client, each at most (2**bits - 1) * max_weight.

    `session` (32 bytes) binds every key and signature to one round of one federation: give the digest of its signed
    manifest. `cohort` is how many clients may take part, `min_survivors` how many must be in the sum. `corrupt` is the
    share of clients, per cent, that may conspire with the server, and `dropout` the share that may vanish without the
    sum being lost (it decides the size of the sparse graph only). With `wraps` values are numbers modulo
    2**modulus_bits themselves, and so is their sum, of which nobody learns how often it wrapped. Raises Invalid for
    terms that cannot be kept: above all when the sum of the whole cohort could reach the modulus and must not wrap.
    """

    session: bytes
    length: int
    bits: int
    modulus_bits: int
    cohort: int
    min_survivors: int
    max_weight: int = 1
    corrupt: int = 33
    dropout: int = 10
    wraps: bool = False

    def __post_init__(self) -> None:
        _within("length", self.length, 1, MOST_LENGTH)
        _within("bits", self.bits, 1, MOST_BITS)
        _within("modulus_bits", self.modulus_bits, 1, MOST_BITS)
        _within("max_weight", self.max_weight, 1, 1 << 62)
        _within("cohort", self.cohort, 2, MOST_CLIENTS)
        _within("min_survivors", self.min_survivors, 2, self.cohort)
        _within("corrupt", self.corrupt, 0, 49)
        _within("dropout", self.dropout, 0, 49)
        if len(self.session) != 32:
            raise Invalid(f"session: {len(self.session)} bytes were given (accepted: a digest of 32).")
        # of the whole cohort: with a client's own neighbours alone the sum of a sparse graph would overflow
        if not self.wraps and 1 << self.modulus_bits <= self.cohort * self.most:
            raise Invalid(
                f"modulus_bits: 2**{self.modulus_bits} can be reached by {self.cohort} clients of at most {self.most}.",
                hint=f"Give at least {least_modulus_bits(self.cohort, self.bits, self.max_weight)}, or fewer bits.",
            )

    @property
    def most(self) -> int:
        """The greatest value that a client may put in."""
        return (1 << self.modulus_bits) - 1 if self.wraps else ((1 << self.bits) - 1) * self.max_weight


def least_modulus_bits(cohort: int, bits: int, max_weight: int = 1) -> int:
    """The fewest bits of a modulus that `cohort` clients cannot reach. Raises Invalid beyond 64."""
    needed = (cohort * ((1 << bits) - 1) * max_weight).bit_length()
    if needed > MOST_BITS:
        raise Invalid(
            f"bits: {cohort} clients of {bits} bits with weights up to {max_weight} need a modulus of {needed} bits "
            f"(at most {MOST_BITS}).",
            hint="Give fewer bits or a smaller weight.",
        )
    return needed


def _within(field: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"{field}: {value!r} is not accepted (a whole number from {least} to {most}).")
