"""The device and the floating-point type that a run computes with."""

from __future__ import annotations

import torch

from ssd.common.errors import UserError
from ssd.config import Precision


def choose_device(name: str) -> torch.device:
    """The device that `training.device` selects on this machine.

    Raises:
        UserError: `cuda` is requested, but there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError(
            "training.device is cuda, but torch sees no CUDA device here: "
            "check the driver with nvidia-smi, or give --training.device cpu"
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The autocast type of forward and backward; None for plain fp32.

    `auto` takes bf16 where the hardware supports it (including CPUs with AVX512-BF16 or AMX),
    because bf16 needs no loss scaling; otherwise it takes fp16 on CUDA and fp32 on a CPU.

    Raises:
        UserError: fp16 is requested on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError(
            "training.precision is fp16, which needs a CUDA device: "
            "give --training.precision auto, bf16 or fp32"
        )
    match precision:
        case "fp32":
            return None
        case "bf16":
            return torch.bfloat16
        case "fp16":
            return torch.float16
        case "auto":
            if device.type == "cuda":
                fast = torch.cuda.is_bf16_supported(including_emulation=False)
                return torch.bfloat16 if fast else torch.float16
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
            return torch.bfloat16 if fast else None
