"""A data set before training: what is wrong with it, and what is in it."""
