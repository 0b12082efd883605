"""The nouns of a project and what they mean: schemas, time, expressions, digests, errors. No I/O happens here."""
