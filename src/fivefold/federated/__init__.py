"""Federated learning: sites train together, and the server learns only the sum."""
