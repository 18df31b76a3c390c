"""Boxes and default boxes: pure functions over tensors, independent of the rest of the project."""
