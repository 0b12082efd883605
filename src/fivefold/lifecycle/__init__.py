"""From rows to a released version: what a training, wherever its rows are, has in common with any other."""
