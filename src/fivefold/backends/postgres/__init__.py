"""PostgreSQL."""

schemes = ("postgresql", "postgres")
