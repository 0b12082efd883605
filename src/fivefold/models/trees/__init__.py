"""Gradient-boosted trees grown level by level from sums of histograms in whole numbers.

The sums are the same to the last bit however the rows are divided, and so are the trees. The files in order: `bins`,
`forest`, `split`, `growth`, `text`.
"""
