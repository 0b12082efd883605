"""Predictions and look-ups, kept beside the hot path."""
