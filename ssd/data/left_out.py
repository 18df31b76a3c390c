"""The images that are left out because they or their objects cannot be read: how many may be.

One object that cannot be read leaves its whole image out, in every format. Without it the image
would teach that there is nothing in its place, and an evaluation would punish who finds it.
"""

from __future__ import annotations

from collections.abc import Collection
from math import ceil

import numpy as np

from ssd.common.errors import UserError
from ssd.data.annotations import Annotations
from ssd.data.findings import Findings
from ssd.data.split import only

SHOWN = 5
ROUNDING = 1e-6  # of a share times the images: 0.29 * 100 is a little less than 29


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
    return max(1, int(max_share * num_images + ROUNDING))


def refuse_too_many(
    problems: Collection[str],
    num_images: int,
    max_share: float,
    what: str,
    where: str,
    reason: str = "",
) -> None:
    """Raises a UserError if more images are left out than `data.max_unreadable` allows.

    Args:
        problems: what is wrong with each of them, in a line.
        num_images: all images, with those that are left out.
        max_share: the setting.
        what: the images in a few words.
        where: tells where the user finds all problems.
        reason: the likely one, if all have the same.
    """
    if len(problems) <= most_left_out(num_images, max_share):
        return
    least = ceil(100 * len(problems) / num_images) / 100
    others = f", or set --data.max_unreadable {least:g} to do without them"
    raise UserError(
        f"{len(problems)} of {num_images} {what} cannot be used, more than data.max_unreadable "
        f"{max_share:g} allows: {f'{reason}; ' if reason else ''}repair them"
        f"{others if len(problems) < num_images else ''}; {where}: {_first(problems)}"
    )


def _first(problems: Collection[str]) -> str:
    return "; ".join(list(problems)[:SHOWN]) + (" …" if len(problems) > SHOWN else "")
