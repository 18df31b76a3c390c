"""Page-locked host memory, from which copies to a GPU are asynchronous, in place.

PyTorch's `pin_memory` copies to new memory. CUDA can also lock memory that is there already.
"""

from __future__ import annotations

from contextlib import suppress

import torch

from ssd.data.cache import Pixels

PORTABLE = 1  # cudaHostRegisterPortable: locked for every GPU


def page_lock(memory: Pixels) -> str:
    """Page-locks memory; returns CUDA's reason if that fails, else nothing."""
    cudart = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    status = cudart.cudaHostRegister(memory.ctypes.data, memory.nbytes, PORTABLE)
    if int(status) == 0:
        return ""
    forget_error()
    return str(cudart.cudaGetErrorString(status))


def page_unlock(memory: Pixels) -> None:
    """Unlocks page-locked memory, once no copy from it is under way."""
    with suppress(RuntimeError):  # of an earlier error, which every call to CUDA repeats
        torch.cuda.synchronize()
    cudart = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    if int(cudart.cudaHostUnregister(memory.ctypes.data)) != 0:
        forget_error()


def forget_error() -> None:
    """Forgets a refusal, which the next kernel to start reports once more."""
    with suppress(RuntimeError):
        torch.ones(1, device="cuda")
