"""Every image file, read and decoded once: is it readable, and what is the hash of its bytes?"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from ssd.common.errors import UserError
from ssd.data.image import decode_image, read_file
from ssd.structures import Record


def read_image_files(records: Sequence[Record], workers: int) -> dict[Path, str | UserError]:
    """The SHA-256 of each image file, in hexadecimal digits, or the error of an unreadable image.

    No more than `workers` images are in memory. Ctrl-C waits for these alone.
    """
    by_path = {record.path: record for record in records}
    pool = ThreadPoolExecutor(workers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of a broken header
        try:
            hashes = pool.map(_hash, by_path.values())
            bar = tqdm(hashes, "reading", len(by_path), leave=False, unit="image")
            return dict(zip(by_path, bar, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)


def _hash(record: Record) -> str | UserError:
    try:
        data = read_file(record.path)
        decode_image(record, data)
    except UserError as error:
        return error
    return hashlib.sha256(data).hexdigest()
