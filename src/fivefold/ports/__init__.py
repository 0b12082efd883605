"""What we ask of the world: one protocol a file, a few methods each, in our own nouns."""
