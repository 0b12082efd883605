import math
import random
import struct
from typing import Any

import pytest


def _doubles(count: int) -> list[float]:
    """Doubles of every magnitude, and ordinary ones; the same each run."""
    choose = random.Random(7)
    found: list[float] = []
    while len(found) < count:
        match choose.randrange(4):
            case 0:
                value = struct.unpack("<d", choose.randbytes(8))[0]
            case 1:
                value = choose.uniform(-1, 1)
            case 2:
                value = choose.uniform(-1000, 1000)
            case _:
                value = math.ldexp(choose.uniform(-1, 1), choose.randint(-60, 60))
        if math.isfinite(value):
            found.append(value)
    return found


_VALUES = _doubles(20_000)
ROWS = [{"x": x, "y": y} for x, y in zip(_VALUES[:10_000], _VALUES[10_000:], strict=True)]


@pytest.mark.parametrize("text", [
    "sin(x)", "cos(x)", "tan(x)", "asin(x)", "acos(x)", "atan(x)", "atan2(x, y)", "tanh(x)", "exp(x)", "ln(abs(x))",
    "log2(abs(x))", "log10(abs(x))", "sqrt(abs(x))", "cbrt(x)", "pow(abs(x), y)", "pow(x, 3)", "radians(x)",
    "degrees(x)", "round(x)", "round(x, 3)", "round(x, -3)", "x % y", "x // y", "x / y", "cast(x as int64)",
    "cast(x as string)",
    "cast(cast(x as string) as float64)",
])
def test_a_function_has_the_same_last_bit_in_both_mathematical_libraries(text: str, evaluate: Any, same: Any) -> None:
    from_sql, from_row = evaluate(text, ROWS)
    assert [row for row, one, other in zip(ROWS, from_sql, from_row, strict=True) if not same(one, other)] == []
    assert sum(value is not None for value in from_row) > 1000
