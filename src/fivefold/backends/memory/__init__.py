"""The memory of this process: for tests and trials."""

schemes = ("memory",)
