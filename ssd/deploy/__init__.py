"""Exported files: written, checked, and run without PyTorch."""
