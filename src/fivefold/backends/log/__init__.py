"""An embedded log on LMDB: streams on one machine, without a server."""

schemes = ("log",)
