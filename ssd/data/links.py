"""Lists folders, and refuses links that lead out of the data set.

The folders of a data set may be links to anywhere. A single file that a list or an annotation
names may be a link too, but only to a file in its folder or below the data's root. Otherwise, a
data set from elsewhere could make us read any file of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class OutsideError(ValueError):
    """A link leads out of the data."""


def list_folder(folder: Path) -> Mapping[str, bool]:
    """The names in a folder, mapped to whether they are links; empty if there is no folder.

    Uses one directory listing, since checking 100,000 files one by one is slow.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_symlink() for entry in entries}
    except (OSError, ValueError):
        return {}


def real_folders(*folders: Path) -> tuple[str, ...]:
    """The real paths of folders, with links resolved and a separator at the end."""
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def refuse_to_leave(path: Path, homes: tuple[str, ...]) -> None:
    """Raises an OutsideError if `path` leads out of all `homes`, which `real_folders` returned."""
    real = os.path.realpath(path)
    if not os.path.join(real, "").startswith(homes):
        raise OutsideError(
            f"{path} links to {real}, outside the data: link the whole folder instead, or copy "
            "the file"
        )
