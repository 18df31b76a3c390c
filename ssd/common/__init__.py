"""Helpers for all packages: one-line errors, atomic file writes, and untrusted input."""
