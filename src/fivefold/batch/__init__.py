"""Predictions for many rows: planned in chunks, resumable, published all or nothing."""
