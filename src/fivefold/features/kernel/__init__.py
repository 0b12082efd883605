"""The as-of and window kernel: numpy over arrays; only `relation.py` talks to DuckDB."""
