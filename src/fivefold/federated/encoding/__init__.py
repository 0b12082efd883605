"""From a contribution to whole numbers below a modulus, and from their sum back: exact sums of rounded vectors."""
