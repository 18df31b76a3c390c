"""The environment that a run depends on besides its config: versions, device, commit."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "tensorboard",
)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """The content of environment.json."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "packages": {name: installed_version(name) for name in PACKAGES},
    }


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` if it has changes; None without git.

    A container has no git, so the Dockerfile passes the commit in `SSD_COMMIT`.
    """
    if told := os.environ.get("SSD_COMMIT"):
        return told
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None


def installed_version(package: str) -> str | None:
    """The version of a package, or None if it is not installed under that name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
