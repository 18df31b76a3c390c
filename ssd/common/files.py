"""Atomic file writes: a file is complete or not there at all."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file beside `path` and renames it, so that a full disk keeps the old content."""
    partial = path.with_name(path.name + ".partial")
    try:
        if isinstance(content, str):
            content = content.encode("utf-8", errors="replace")
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
