"""The HTTP fronts: one connection, one table of routes, a file for each protocol."""
