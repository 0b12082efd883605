"""Sites train a model together: strategies, learners, the encoding of sums, privacy, robust rules, simulation."""
