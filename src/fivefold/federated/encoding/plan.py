"""How the contributions of a round become whole numbers below a modulus that their sum cannot overflow."""

from __future__ import annotations

import math

import msgspec

from fivefold.core.errors import Invalid
from fivefold.federated.contribution import GRAIN, Layout
from fivefold.federated.encoding.rotation import padded
from fivefold.federated.privacy import skellam

COUNTED_BITS = 48
"""Bits of a number that is told exactly, in multiples of `GRAIN`, the sign included."""
GREATEST = GRAIN * 2 ** (COUNTED_BITS - 1)
"""Numbers that are told exactly are below it."""
UNLIKELY = 40
"""A turned coordinate is beyond the range with a chance below 2**-40; it is cut then."""
MOST_BITS = 62


class Turned(msgspec.Struct, frozen=True):
    """An array that is told rounded: divided by `unit`, turned and rounded together with the others."""

    name: str
    unit: float


class Plan(msgspec.Struct, frozen=True):
    """What all sites of a round do alike. Turned arrays together are at most `length` long (L2) once divided by units.

    `grid` is the step of rounding, `half` the most a rounded coordinate can be, `longest` how long a rounded vector may
    be. Each site adds noise of the variance `share` to each coordinate (0: none), or the server does once with
    `central`. A coordinate is told as so much above `-offset`, in `bits` bits. `counted` arrays are told exactly, each
    number in `limbs` pieces of `bits` bits.
    """

    layout: Layout
    turned: tuple[Turned, ...]
    counted: tuple[str, ...]
    length: float
    grid: float
    half: int
    longest: float
    share: int
    central: bool
    cohort: int
    min_survivors: int
    offset: int
    bits: int
    seed: bytes

    @property
    def turned_size(self) -> int:
        """Numbers in the turned arrays, before they are filled up."""
        return sum(_size(self.layout, part.name) for part in self.turned)

    @property
    def counted_size(self) -> int:
        """Numbers that are told exactly."""
        return sum(_size(self.layout, name) for name in self.counted)

    @property
    def size(self) -> int:
        """Length of an encoded vector."""
        return padded(self.turned_size) + self.limbs * self.counted_size

    @property
    def limbs(self) -> int:
        """Pieces of a number that is told exactly."""
        return -(-COUNTED_BITS // self.bits)

    @property
    def modulus_bits(self) -> int:
        """The bits of R, above cohort × (2**bits - 1): encoded vectors are added modulo R, which no sum reaches."""
        return (self.cohort * ((1 << self.bits) - 1)).bit_length()

    @property
    def bytes(self) -> int:
        """What one encoded vector takes on the wire, each number in `modulus_bits` bits."""
        return -(-self.size * self.modulus_bits // 8)


def make_plan(
    layout: Layout,
    turned: tuple[Turned, ...],
    *,
    length: float,
    bits: int,
    cohort: int,
    min_survivors: int,
    seed: bytes,
    share: int = 0,
    central: bool = False,
    grid: float | None = None,
    longest: float = math.inf,
) -> Plan:
    """The plan of a round: rounded coordinates have `bits` bits, or as many as a given `grid` needs.

    Raises Invalid where the sum over the cohort needs a modulus of more than 62 bits.
    """
    names = {part.name for part in turned}
    counted = tuple(name for name in layout.names if name not in names)
    size = padded(sum(_size(layout, part.name) for part in turned))
    farthest = length * min(1.0, math.sqrt(2 * (math.log(2 * size) + UNLIKELY * math.log(2)) / size))
    if grid is None:
        half = (1 << (bits - 1)) - 1
        grid = farthest / half
    else:
        half = math.ceil(farthest / grid)
    offset = half + (0 if central else skellam.reach(share))
    plan = Plan(layout, turned, counted, length, grid, half, longest, share, central, cohort, min_survivors, offset,
                (2 * offset).bit_length(), seed)  # fmt: skip
    if plan.modulus_bits > MOST_BITS:
        raise Invalid(
            f"a sum over {cohort} sites needs a modulus of {plan.modulus_bits} bits (accepted: {MOST_BITS} at most).",
            hint="Ask fewer sites in a round, or tell fewer bits.",
        )
    return plan


def exact_plan(layout: Layout, reach: float, *, bits: int, cohort: int, min_survivors: int, seed: bytes) -> Plan:
    """A plan without noise: vectors, each at most `reach` long, are rounded to `bits` bits; scalars are exact."""
    vectors = tuple(Turned(n, reach) for n, shape in zip(layout.names, layout.shapes, strict=True) if shape)
    if not 0 < reach < math.inf:
        raise Invalid(f"reach={reach!r} (accepted: a length above 0).")
    length = math.sqrt(len(vectors))
    return make_plan(layout, vectors, length=length, bits=bits, cohort=cohort, min_survivors=min_survivors, seed=seed)


def expected_error(plan: Plan) -> float:
    """The length (L2) that the error of rounding in the sum of all sites will have, in units of the turned arrays."""
    return plan.grid / 2 * math.sqrt(plan.cohort * padded(plan.turned_size))


def widest_bits(layout: Layout, reach: float, limit: int, *, cohort: int, min_survivors: int, most: int = 16) -> int:
    """The most bits a coordinate, up to `most`, with which an encoded vector fits into `limit` bytes.

    Raises Invalid where not even two bits do.
    """
    for bits in range(most, 1, -1):
        made = exact_plan(layout, reach, bits=bits, cohort=cohort, min_survivors=min_survivors, seed=b"")
        if made.bytes <= limit:
            return bits
    raise Invalid(
        f"a contribution of {layout.size} numbers takes {made.bytes} bytes with two bits each, and a round may take "
        f"{limit}.",
        hint="Raise round_bytes, ask fewer sites in a round, or train a smaller model.",
    )


def next_reach(reach: float, clipped: float) -> float:
    """The reach of the next round: four times as far where some site had to cut its change, else the same."""
    return 4 * reach if clipped > 0 else reach


def _size(layout: Layout, name: str) -> int:
    place = layout.places[name]
    return int(place.stop - place.start)
