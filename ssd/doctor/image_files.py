"""Every image file, read and decoded once: is it readable, and what is the hash of its bytes?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ssd.common.errors import UserError
from ssd.data.image import read_file, try_image
from ssd.data.threads import in_threads
from ssd.structures import Record


def read_image_files(records: Sequence[Record], workers: int) -> dict[Path, str | UserError]:
    """The SHA-256 of each image file, in hexadecimal digits, or the error of an unreadable image.

    No more than `workers` images are in memory. Ctrl-C waits for these alone.
    """
    by_path = {record.path: record for record in records}
    hashes = in_threads(_hash, list(by_path.values()), workers, "reading")
    return dict(zip(by_path, hashes, strict=True))


def _hash(record: Record) -> str | UserError:
    try:
        data = read_file(record.path)
        try_image(record, data)
    except UserError as error:
        return error
    return hashlib.sha256(data).hexdigest()
