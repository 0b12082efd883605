"""The gRPC fronts: one table of calls, a file for each protocol."""
