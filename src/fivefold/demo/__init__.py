"""Projects to start from, and the flights project run from raw data to a report."""
