"""Whether somebody is who they say: secrets, back-off after wrong ones, and what is remembered of good ones."""
