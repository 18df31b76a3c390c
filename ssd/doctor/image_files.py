"""Every image file, read and decoded once: is it readable, and what is the hash of its bytes?"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from tqdm.auto import tqdm

from ssd.common.errors import UserError
from ssd.data.image import decode_image, read_file
from ssd.structures import Record

PART = 32  # images that a thread takes at once


def read_image_files(records: Sequence[Record], workers: int) -> dict[Path, str | UserError]:
    """The SHA-256 of each image file, in hexadecimal digits, or the error of an unreadable image.

    No more than `workers` images are in memory. Ctrl-C waits for these alone.
    """
    by_path = {record.path: record for record in records}
    every = list(by_path.values())
    parts = [every[start : start + PART] for start in range(0, len(every), PART)]
    stopped = Event()

    def hash_part(part: Sequence[Record]) -> list[str | UserError]:
        return [_hash(record) for record in part if not stopped.is_set()]

    pool = ThreadPoolExecutor(workers)
    bar = tqdm(desc="reading", total=len(every), leave=False, unit="image")
    hashes: list[str | UserError] = []
    with warnings.catch_warnings(), bar:
        warnings.simplefilter("ignore")  # Pillow's, of a broken header
        try:
            for part in pool.map(hash_part, parts):
                hashes += part
                bar.update(len(part))
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
    return dict(zip(by_path, hashes, strict=True))


def _hash(record: Record) -> str | UserError:
    try:
        data = read_file(record.path)
        decode_image(record, data)
    except UserError as error:
        return error
    return hashlib.sha256(data).hexdigest()
