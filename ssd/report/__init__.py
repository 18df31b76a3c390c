"""A run folder → pictures and one page; needs no torch."""
