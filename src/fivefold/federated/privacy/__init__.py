"""Differential privacy: clipping, discrete noise, accounting, and what it will cost before the run."""
