"""A federation says before it runs what it will cost, and that its noise would drown the model."""

from __future__ import annotations

import numpy as np
import pytest

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.federated.contribution import sent_layout
from fivefold.federated.privacy.outlook import outlook

ROWS = ff.Table("rows", "r.csv", time="at")
MODEL = ff.Model("m", ff.Target(ROWS, "y"), [ff.Request("x", float)], ff.learner("logistic"), ff.RandomSplit())


def seen(cohort: int = 16, parameters: int = 30, total: int = 250_000, **more):  # type: ignore[no-untyped-def]
    federation = ff.Federation("f", MODEL, **{"split": "carrier", "rounds": 20, **more})
    return outlook(federation, sent_layout(update=parameters), parameters, cohort, total)


SECURE = ff.SecureSum(min_survivors=12)


def test_noise_for_sixteen_sites_drowns_a_model_and_for_their_rows_does_not() -> None:
    client = seen(privacy=[SECURE, ff.DP(3, 1e-5, unit="client")])
    row = seen(privacy=[SECURE, ff.DP(3, 1e-5, unit="row")])
    assert client.noise_to_signal > 1
    assert "THE NOISE DROWNS THE MODEL" in " ".join(client.says)
    assert row.noise_to_signal < 0.01
    assert "DROWNS" not in " ".join(row.says)


def test_thousands_of_sites_drown_nothing() -> None:
    many = seen(cohort=5000, privacy=[ff.SecureSum(min_survivors=4000), ff.DP(3, 1e-5, unit="client")])
    assert many.noise_to_signal < 0.1


def test_the_noise_is_as_long_as_foretold() -> None:
    from fivefold.federated.encoding.codec import decode, encode

    found = seen(privacy=[ff.SecureSum(min_survivors=16), ff.DP(3, 1e-5, unit="row")])
    plan = found.plan
    lengths = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        total = sum(encode(np.zeros(33), plan, random.bytes) for _ in range(16))
        lengths.append(np.linalg.norm(decode(total, 16, plan)[:30]) / 0.1)
    assert np.mean(lengths) == pytest.approx(found.noise_to_signal, rel=0.1)


def test_without_secrecy_and_noise_floats_are_sent() -> None:
    found = seen()
    assert (found.plan, found.noise_to_signal, found.rounding) == (None, None, None)
    assert (found.bytes_up, found.bytes_down) == (33 * 8, 30 * 8)


def test_a_budget_of_bytes_makes_values_coarser() -> None:
    wide, narrow = seen(privacy=SECURE, parameters=1000), seen(privacy=SECURE, parameters=1000, round_bytes="2kB")
    assert narrow.bytes_up <= 2000
    assert wide.bytes_up > narrow.bytes_up > 1700
    assert narrow.rounding > wide.rounding


@pytest.mark.parametrize(("more", "message"), [
    ({"privacy": SECURE, "cohort": 11}, "can never be min_survivors=12"),
    ({"round_bytes": "200B"}, "takes 264 bytes from a site, and round_bytes allows 200"),
    ({"privacy": SECURE, "round_bytes": "100B", "parameters": 1000}, "with two bits each")])
def test_what_cannot_be_is_refused(more, message: str) -> None:  # type: ignore[no-untyped-def]
    cohort = more.pop("cohort", 16)
    with pytest.raises(Invalid, match=message):
        seen(cohort=cohort, **more)
