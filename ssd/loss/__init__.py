"""Predictions and ground truth → sums, and what the sums are divided by."""
