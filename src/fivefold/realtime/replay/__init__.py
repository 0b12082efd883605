"""What was served, computed again from the rows that had been seen, and why it was so."""
