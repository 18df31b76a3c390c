"""Annotation files → Records → Samples, in the order of training."""
