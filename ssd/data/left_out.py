"""The images that are left out because they are missing or unreadable: how many may be."""

from __future__ import annotations

from collections.abc import Collection

from ssd.common.errors import UserError

SHOWN = 5


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
    first = "; ".join(list(problems)[:SHOWN])
    more = " …" if len(problems) > SHOWN else ""
    raise UserError(
        f"{len(problems)} of {num_images} {what} cannot be used, more than data.max_unreadable "
        f"{max_share:g} allows: repair them or raise --data.max_unreadable; {where}: {first}{more}"
    )
