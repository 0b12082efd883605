"""LMDB: an embedded store that many processes read while one writes."""

schemes = ("lmdb",)
