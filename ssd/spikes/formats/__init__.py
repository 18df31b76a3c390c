"""Readers of the logs of other programs, one for each format."""
