"""Detections against ground truth → average precision."""
