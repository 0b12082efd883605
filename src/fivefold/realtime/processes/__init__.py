"""What runs an endpoint: one process, several under a supervisor, or replicas of Ray Serve."""
