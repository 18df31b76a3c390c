"""Boxes and default boxes: pure functions over tensors, importing nothing else of the project."""
