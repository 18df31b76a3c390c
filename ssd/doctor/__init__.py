"""Checks a data set before training and describes its content."""
