"""Redis and Valkey."""

schemes = ("redis", "rediss", "valkey")
extra = "redis"
