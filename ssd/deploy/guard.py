"""Keeps what an untrusted file can do to a command within bounds."""

from __future__ import annotations

import sys
from pathlib import Path

from ssd.common.machine import free_memory
from ssd.deploy.onnx_session import SILENT


def guard() -> None:
    """Lets this process take no more memory than is free now, and onnxruntime print nothing.

    A file of some hundred bytes can ask for any amount of memory. Beyond the limit, a runtime
    raises an error, where the system would end this process or others. Only Linux has such a limit.
    """
    if sys.platform == "linux":
        import resource

        status = Path("/proc/self/status").read_text().splitlines()
        taken = sum(1024 * int(line.split()[1]) for line in status if line.startswith("VmData:"))
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [taken + free_memory(), *(each for each in (soft, hard) if each >= 0)]
        if free_memory():
            resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        import onnxruntime
    except ImportError:  # OpenVINO may be there instead
        return
    onnxruntime.set_default_logger_severity(SILENT)
