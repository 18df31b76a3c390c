"""Files that are on the disk once they are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_and_flush(path: Path, write: Callable[[Any], object]) -> dict[str, Any]:
    """Writes a file and waits until the disk has it; returns its size and SHA-256.

    Raises:
        OSError: there is no room, or the folder is not writable.
    """
    with path.open("wb") as file:
        hashing = HashingFile(file)
        write(hashing)
        hashing.raise_failure()
        file.flush()
        os.fsync(file.fileno())
        return {"size": hashing.size, "sha256": hashing.sha256.hexdigest()}


class HashingFile:
    """A file for `torch.save` that hashes each piece, so that a state is never in memory twice.

    A failure is raised only at the end, since the clean-up of `torch.save` would hide it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._failure: OSError | None = None
        self.size, self.sha256 = 0, hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Writes and hashes a piece; after a failure, it no longer writes."""
        length = len(content)
        if self._failure is None:
            try:
                self._file.write(content)
            except OSError as failure:
                self._failure = failure
        self.sha256.update(content)
        self.size += length
        return length

    def flush(self) -> None:
        """Does nothing: `write_and_flush` flushes at the end."""

    def raise_failure(self) -> None:
        """Raises the first failure to write, if there was one."""
        if self._failure is not None:
            raise self._failure


def flush_folder(folder: Path) -> None:
    """Waits until the disk has the names in a folder; Windows, which opens none, cannot wait."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
