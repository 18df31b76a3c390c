"""Files of `torch.save`, which may come from anywhere.

Loading one runs no code, and costs no more memory than the file has bytes.
"""

from __future__ import annotations

import zipfile
from typing import IO

import torch
from torch import Tensor

from ssd.common.errors import one_line

LONGEST_REASON = 200


def load_tensors(file: IO[bytes]) -> object:
    """What a file holds: tensors on the CPU and plain values, nested.

    Raises:
        ValueError: it is damaged, holds other things, or unpacks to more than it has.
    """
    try:
        _refuse_to_unpack(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"{type(error).__name__}: {one_line(error)}"[:LONGEST_REASON]) from error


def is_plain(value: object) -> bool:
    """Whether a value is a tensor of real numbers in memory, which can be copied into a model."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_complex())
    )


def _refuse_to_unpack(file: IO[bytes]) -> None:
    """`torch.save` compresses nothing: who does makes a megabyte unpack to gigabytes."""
    size = file.seek(0, 2)
    file.seek(0)
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > size:
            raise ValueError(f"it unpacks to {claimed} bytes, but has {size}")
    file.seek(0)
