"""Between the wire formats and the predictor: requests merged, bounded, ordered and refused before they are late."""
