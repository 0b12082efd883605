"""Whether an answer says what its passages say, sentence by sentence; and answers made of quotes alone."""
