"""One SQL scalar dialect with two compilations that agree bit for bit: DuckDB SQL and a Python function of a row."""

from fivefold.core.expressions.expression import Expression, columns_used, parse

__all__ = ["Expression", "columns_used", "parse"]
