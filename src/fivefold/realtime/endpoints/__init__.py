"""An endpoint answers rows: the version it has, the one it tries, and what is told of its answers afterwards."""
