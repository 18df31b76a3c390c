"""What a folder holds, and whether a name in it is a link that leads out of the data.

Whoever lays out a data set may link its folders to anywhere. A single file, which a list or an
annotation names, may be a link too, but not one out of its folder and the data's root: a data set
from elsewhere would so have any file of this machine read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def list_folder(folder: Path) -> Mapping[str, bool]:
    """The names in a folder, and of each whether it is a link; none where there is no folder.

    From one listing: asking for 100,000 files singly is slow.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_symlink() for entry in entries}
    except (OSError, ValueError):
        return {}


def real_folders(*folders: Path) -> tuple[str, ...]:
    """Where folders really are, once links are followed."""
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def refuse_to_leave(path: Path, homes: tuple[str, ...]) -> None:
    """Raises a ValueError if `path` leads out of all `homes`, which `real_folders` tells."""
    real = os.path.realpath(path)
    if not os.path.join(real, "").startswith(homes):
        raise ValueError(
            f"{path} is a link out of the data, to {real}: link its whole folder instead, or copy "
            "the file"
        )
