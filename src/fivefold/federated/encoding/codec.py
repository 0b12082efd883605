"""Encoding of one contribution, and decoding of the sum of many."""

from __future__ import annotations

import os

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.contribution import GRAIN
from fivefold.federated.encoding.plan import COUNTED_BITS, GREATEST, Plan
from fivefold.federated.encoding.rotation import padded, rotate, unrotate
from fivefold.federated.encoding.rounding import RandomBytes, round_at_random
from fivefold.federated.privacy.skellam import skellam


def encode(vector: np.ndarray, plan: Plan, random: RandomBytes = os.urandom) -> np.ndarray:
    """A contribution `(layout.size,)` as uint64 `(plan.size,)` below `2**plan.bits`.

    Turned arrays are cut to the plan's length, turned, rounded at random and, where the plan says so, given the site's
    share of the noise; the others are told in multiples of 2**-24. `random` must be secret where there is noise. Raises
    Invalid for a value that is no finite number, and for one to be told exactly that is too great.
    """
    if not np.isfinite(vector).all():
        raise Invalid(f"{int((~np.isfinite(vector)).sum())} of {len(vector)} numbers to be sent are infinite or none.")
    arrays = plan.layout.unflatten(vector)
    parts = [np.concatenate([arrays[part.name].ravel() / part.unit for part in plan.turned])] if plan.turned else []
    out = np.zeros(plan.size, dtype=np.int64)
    edge = padded(plan.turned_size) if parts else 0
    if parts:
        turned = rotate(_within(parts[0], plan.length), plan.seed) / plan.grid
        turned = turned.clip(-plan.half, plan.half)
        out[:edge] = round_at_random(turned, random, plan.longest)
        if plan.share and not plan.central:
            out[:edge] += skellam(plan.share, edge, random)
        out[:edge] += plan.offset
    if plan.counted:
        values = np.concatenate([np.ravel(arrays[name]) for name in plan.counted])
        if (np.abs(values) >= GREATEST).any():
            raise Invalid(f"a number to be told exactly is {np.abs(values).max():g} (accepted: below {GREATEST:g}).")
        out[edge:] = _limbs(np.rint(values / GRAIN).astype(np.int64), plan)
    return out.astype(np.uint64)


def decode(total: np.ndarray, survivors: int, plan: Plan, random: RandomBytes = os.urandom) -> np.ndarray:
    """The sum of contributions `(layout.size,)` float64 from the sum of `survivors` encoded ones.

    With `plan.central` the server's noise is added first. Raises Invalid for fewer survivors than promised or more than
    were asked, and for a vector of another kind.
    """
    if not plan.min_survivors <= survivors <= plan.cohort:
        raise Invalid(f"survivors={survivors} (accepted: {plan.min_survivors} to {plan.cohort}).")
    most = survivors * ((1 << plan.bits) - 1)
    if total.dtype != np.uint64 or total.shape != (plan.size,) or (total > np.uint64(most)).any():
        raise Invalid(
            f"the sum is {total.dtype} of the shape {total.shape} (accepted: uint64 of ({plan.size},), {most} at most)."
        )
    lifted = total.astype(np.int64)
    size = plan.turned_size
    edge = padded(size) if plan.turned else 0
    lifted[:edge] -= survivors * plan.offset
    if plan.share and plan.central:
        lifted[:edge] += skellam(plan.share, edge, random)
    arrays: dict[str, np.ndarray] = {}
    straight = unrotate(lifted[:edge] * plan.grid, plan.seed, size) if edge else np.zeros(0)
    shapes = dict(zip(plan.layout.names, plan.layout.shapes, strict=True))
    at = 0
    for part in plan.turned:
        count = int(np.prod(shapes[part.name], dtype=np.int64))
        arrays[part.name] = (straight[at : at + count] * part.unit).reshape(shapes[part.name])
        at += count
    exact, at = _joined(lifted[edge:], plan, survivors) * GRAIN, 0
    for name in plan.counted:
        count = int(np.prod(shapes[name], dtype=np.int64))
        arrays[name] = exact[at : at + count].reshape(shapes[name])
        at += count
    return plan.layout.flatten(arrays)


def _within(vector: np.ndarray, length: float) -> np.ndarray:
    long = float(np.linalg.norm(vector))
    return vector * (length / long) if long > length else vector


def _limbs(values: np.ndarray, plan: Plan) -> np.ndarray:
    """Whole numbers in pieces of `bits` bits, the least first; shifted to be positive, which the sum undoes."""
    shifted = values + (1 << (COUNTED_BITS - 1))
    mask = np.int64((1 << plan.bits) - 1)
    return np.concatenate([(shifted >> (i * plan.bits)) & mask for i in range(plan.limbs)])


def _joined(pieces: np.ndarray, plan: Plan, survivors: int) -> np.ndarray:
    """Sums of whole numbers from the sums of their pieces; in Python's numbers, since many sites may exceed 64 bits."""
    sums = sum(piece.astype(object) << (i * plan.bits) for i, piece in enumerate(np.split(pieces, plan.limbs)))
    return np.array(sums - survivors * (1 << (COUNTED_BITS - 1)), dtype=np.float64)
