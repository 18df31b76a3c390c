"""Loads files of `torch.save` from untrusted sources.

Loading one runs no code and needs no more memory than the file has bytes.
"""

from __future__ import annotations

import zipfile
from typing import IO

import torch
from torch import Tensor

from ssd.common.errors import one_line

LONGEST_REASON = 200


def load_tensors(file: IO[bytes]) -> object:
    """The content of a file: tensors on the CPU and plain values, nested.

    Raises:
        ValueError: it is damaged, holds anything else, or unpacks to more bytes than it has.
    """
    try:
        _refuse_to_unpack(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{type(error).__name__}: {one_line(error)}"[:LONGEST_REASON]) from error


def is_plain(value: object) -> bool:
    """Returns whether a value is a CPU tensor of real numbers that can be copied into a model."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_complex())
    )


def _refuse_to_unpack(file: IO[bytes]) -> None:
    """Raises a ValueError if the file unpacks to more bytes than it has.

    `torch.save` compresses nothing, and a compressed megabyte could unpack to gigabytes.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if zipfile.is_zipfile(file):
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > size:
            raise ValueError(f"it unpacks to {claimed} bytes, but has {size}")
    file.seek(0)
