"""Data comes in: read, checked, quarantined, kept as immutable snapshots; views are derived from it."""
