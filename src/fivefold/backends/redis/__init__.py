"""Redis, Valkey and what else speaks their protocol, through redis-py."""

schemes = ("redis", "rediss", "valkey", "valkeys")
extra = "redis"
