"""Turns a run folder into pictures and one page; needs no torch."""
