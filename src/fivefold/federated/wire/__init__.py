"""What travels between a site and the server: typed arrays, signed envelopes, chunks; and the lines it travels on."""
