"""What a server that sees contributions, or the sums of buckets of them, does so that false ones do little harm."""
