"""What a federation will cost and tell, before it runs."""

from __future__ import annotations

import math

import msgspec

from fivefold.core.errors import Invalid
from fivefold.core.federation import Federation
from fivefold.core.ranges import size
from fivefold.core.strategies import Descent, SharedBody
from fivefold.federated.contribution import Layout
from fivefold.federated.encoding.plan import Plan, exact_plan, expected_error, widest_bits
from fivefold.federated.privacy.noise import Noise, private_plan, terms_under


class Outlook(msgspec.Struct, frozen=True):
    """A plan, and what it means.

    `noise_to_signal` is the length of the noise in the sum of changes over the longest that this sum can be; None
    without noise. `rounding` is the same for the error of rounding. Bytes are of one site and round.
    """

    plan: Plan | None
    noise: Noise | None
    noise_to_signal: float | None
    rounding: float | None
    bytes_up: int
    bytes_down: int
    says: tuple[str, ...]


def outlook(federation: Federation, layout: Layout, parameters: int, cohort: int, total: int) -> Outlook:
    """What awaits a federation whose contributions are laid out so, of a model of so many parameters, with `cohort`
    sites in a round and `total` rows on all of them.

    Raises Invalid where the cohort is too small, or a byte budget cannot be kept.
    """
    secure, dp = federation.secure, federation.dp
    if secure is not None and cohort < secure.min_survivors:
        raise Invalid(
            f"{federation.ref}: {cohort} sites can never be min_survivors={secure.min_survivors}.",
            hint="Enrol more sites, or accept fewer survivors.",
        )
    limit = size(federation.round_bytes, f"{federation.ref}, round_bytes") if federation.round_bytes else None
    least = secure.min_survivors if secure else 1
    plan, noise = None, None
    if dp is not None:
        steps = federation.steps
        assert isinstance(steps, Descent)
        noise = private_plan(layout, dp, terms_under(dp, total), steps.lr, releases=federation.rounds, cohort=cohort,
                             min_survivors=least, central=secure is None, seed=b"outlook")  # fmt: skip
        plan = noise.plan
    elif secure is not None:
        bits = secure.bits
        if limit is not None:
            bits = widest_bits(layout, 1.0, limit, cohort=cohort, min_survivors=least, most=bits)
        plan = exact_plan(layout, 1.0, bits=bits, cohort=cohort, min_survivors=least, seed=b"outlook")
    up, down = plan.bytes if plan and secure else 8 * layout.size, 8 * parameters
    if limit is not None and up > limit:
        raise Invalid(
            f"{federation.ref}: a round takes {up:,} bytes from a site, and round_bytes allows {limit:,}.",
            hint="Raise round_bytes, or train a smaller model.",
        )
    ratio = None if noise is None else _noise_to_signal(federation, noise, layout, cohort)
    rounding = None if plan is None or dp is not None else expected_error(plan) / cohort
    says = tuple(_sentences(federation, ratio, rounding, up, down, cohort))
    return Outlook(plan, noise, ratio, rounding, up, down, says)


def _noise_to_signal(federation: Federation, noise: Noise, layout: Layout, cohort: int) -> float:
    dp, steps = federation.dp, federation.steps
    assert dp is not None
    assert isinstance(steps, Descent)
    place = layout.places["update"]
    longest = dp.clip * steps.lr if dp.unit == "row" else dp.clip * cohort
    return noise.deviation * math.sqrt(place.stop - place.start) / longest


def _sentences(
    federation: Federation, ratio: float | None, rounding: float | None, up: int, down: int, cohort: int
) -> list[str]:
    said = [f"a round sends each of {cohort} sites {down:,} bytes and takes {up:,} from it"]
    if isinstance(federation.steps, SharedBody):
        said.append("heads stay with their sites: a version holds the common body only")
    if rounding is not None:
        said.append(f"rounding moves the sum of changes by {rounding:.2%} of the longest that it can be")
    dp = federation.dp
    if ratio is not None and dp is not None:
        what = "a row" if dp.unit == "row" else "a site"
        said.append(
            f"noise that hides {what} (epsilon {dp.epsilon:g}, delta {dp.delta:g}, {federation.rounds} rounds) is "
            f"{ratio:.3g} times as long as the longest sum of changes"
        )
        if ratio > 1:
            mend = "more sites" if dp.unit == "client" else "more rows"
            also = ", unit='row'" if dp.unit == "client" else ""
            said.append(f"THE NOISE DROWNS THE MODEL: it needs {mend}, fewer rounds, a larger epsilon{also}")
    return said
