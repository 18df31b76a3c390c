"""Benchmarks of the parts of this project against torchvision and other libraries."""
