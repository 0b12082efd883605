"""Apache Kafka, and what speaks its protocol."""

schemes = ("kafka",)
extra = "kafka"
