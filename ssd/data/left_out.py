"""The images that are left out because they or their objects cannot be read: how many may be.

One object that cannot be read leaves its whole image out, in every format. Without it the image
would teach that there is nothing in its place, and an evaluation would punish who finds it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ssd.common.errors import UserError
from ssd.data.annotations import Annotations
from ssd.data.findings import Findings
from ssd.data.split import only

SHOWN = 5


def without_broken(found: Annotations, findings: Findings) -> Annotations:
    """The images all of whose objects can be read; the others are reported to `findings`."""
    if not found.broken:
        return found
    mask = np.ones(len(found.images), np.bool_)
    for index, problems in sorted(found.broken.items()):
        mask[index] = False
        told = f"{_first(problems)} (this leaves out {found.images[index].path})"
        findings.unusable("broken object", told)
    return only(found, mask)


def most_left_out(num_images: int, max_share: float) -> int:
    """The number of images that may be left out by `data.max_unreadable`; one always may."""
    return max(1, int(max_share * num_images))


def refuse_too_many(
    problems: Collection[str], num_images: int, max_share: float, what: str, where: str
) -> None:
    """Raises a UserError if more images are left out than `data.max_unreadable` allows.

    Args:
        problems: what is wrong with each of them, in a line.
        num_images: all images, with those that are left out.
        max_share: the setting.
        what: the images in a few words.
        where: tells where the user finds all problems.
    """
    if len(problems) <= most_left_out(num_images, max_share):
        return
    raise UserError(
        f"{len(problems)} of {num_images} {what} cannot be used, more than data.max_unreadable "
        f"{max_share:g} allows: repair them or raise --data.max_unreadable; {where}: "
        f"{_first(problems)}"
    )


def _first(problems: Collection[str]) -> str:
    return "; ".join(list(problems)[:SHOWN]) + (" …" if len(problems) > SHOWN else "")
