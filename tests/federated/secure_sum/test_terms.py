from __future__ import annotations

from typing import Any

import pytest
from sum_people import terms

from fivefold.core.errors import Invalid
from fivefold.federated.secure_sum.terms import least_modulus_bits


@pytest.mark.parametrize(("other", "why"), [
    ({"session": b"short"}, "session: 5 bytes"),
    ({"length": 0}, "length"),
    ({"bits": 65}, "bits"),
    ({"corrupt": 50}, "corrupt: 50"),
    ({"min_survivors": 1}, "min_survivors: 1"),
    ({"min_survivors": 11}, "min_survivors: 11"),
    ({"max_weight": 0, "modulus_bits": 20}, "max_weight"),
    ({"modulus_bits": 16}, r"modulus_bits: 2\*\*16 can be reached by 10 clients of at most 65535.*at least 20"),
])
def test_terms_that_cannot_be_kept_are_refused(other: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        terms(10, **other)


def test_the_modulus_is_beyond_the_whole_cohort_and_no_larger() -> None:
    for cohort, bits, weight in ((2, 1, 1), (3, 16, 1), (1024, 16, 1), (7, 9, 100), (5, 60, 1)):
        needed = least_modulus_bits(cohort, bits, weight)
        reached = cohort * (2**bits - 1) * weight
        assert 2 ** (needed - 1) <= reached < 2**needed
    with pytest.raises(Invalid, match="a modulus of 65 bits"):
        least_modulus_bits(16, 61)
