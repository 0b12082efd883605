from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

import fivefold as ff
from fivefold.core.types import Type
from fivefold.features.scales import HEADROOM, LIMIT_BITS, choose_scale, fits, summed_columns


@given(st.floats(1e-300, 1e200))
def test_a_thousand_times_the_largest_value_seen_fits(magnitude: float) -> None:
    scale = choose_scale(magnitude)
    assert abs(round(math.ldexp(magnitude * HEADROOM, scale))) <= 2**LIMIT_BITS
    assert magnitude < fits(scale)


@given(st.floats(1e-3, 1e200))
def test_no_finer_scale_would_do(magnitude: float) -> None:
    scale = choose_scale(magnitude)
    assert scale == 60 or math.ldexp(magnitude * HEADROOM, scale + 1) > 2**LIMIT_BITS


def test_columns_without_a_size_get_a_middling_scale() -> None:
    assert choose_scale(0.0) == choose_scale(math.inf) == 20


def test_only_summed_numbers_are_asked_for() -> None:
    table = ff.Table("t", "t.csv", time="at")
    view = ff.FeatureView("v", ff.Entity("e", key="k"), table, [
        ff.sum("f"), ff.mean("i"), ff.std("b"), ff.last("g"), ff.count(), ff.max("g"), ff.quantile("g", 0.5)])
    schema = {"f": Type.FLOAT64, "i": Type.INT64, "g": Type.FLOAT64, "b": Type.BOOL}
    assert summed_columns([view], {"t": schema}) == {"t": {"f": Type.FLOAT64, "i": Type.INT64}}
