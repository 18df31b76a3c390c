"""The kinds of repairs that it takes to find the file that a name means."""

from __future__ import annotations

import re

SPELLED_OTHERWISE = "name spelled otherwise"
WITHOUT_FOLDER = "name without its folder"
OTHER_FOLDER = "path from another folder"
OTHER_MACHINE = "path of another machine"


def moved(path: str) -> str:
    """The repair of a path whose end alone is found; one of another machine is absolute.

    CVAT, for one, writes `data/obj_train_data/x.jpg` for `obj_train_data/x.jpg`.
    """
    is_absolute = re.match(r"[/\\]|[A-Za-z]:|[A-Za-z]+://", path)
    return OTHER_MACHINE if is_absolute else OTHER_FOLDER
