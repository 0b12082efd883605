"""A sum of vectors of which the server learns nothing but the sum.

The protocol is that of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS
2017), in the variant for servers that cheat, on the sparse graph of Bell et al. (CCS 2020) beyond a hundred clients.
Read in this order: `terms`, `ring`, `shamir`, `keys`, `masks`, `graph`, `messages`, `client`, `server`. The decision
record 0011 has the byte formats.
"""
