"""Google Cloud Pub/Sub."""

schemes = ("pubsub",)
extra = "pubsub"
