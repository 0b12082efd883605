"""A local folder."""

schemes = ("files", "file")
