"""Unreadable training images: each is reported once, and their share is limited."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ssd.common.errors import UserError
from ssd.run.names import UNREADABLE


class Quarantine:
    """Counts unreadable images and lists them in `unreadable.txt`.

    A resumed run counts from zero, since the images may have been repaired.

    Args:
        run_dir: the run folder.
        num_images: images of the training data.
        max_share: share of them that may be unreadable.
    """

    def __init__(self, run_dir: Path, num_images: int, max_share: float) -> None:
        self._path = run_dir / UNREADABLE
        self._num_images = num_images
        self._max_share = max_share
        self._known: set[str] = set()

    def take(self, problems: Iterable[str]) -> list[str]:
        """Records the problems; returns the new ones.

        Raises:
            UserError: more than the allowed share of the images are unreadable.
        """
        new = sorted(set(problems) - self._known)
        if not new:
            return new
        self._known |= set(new)
        with self._path.open("a") as file:
            file.writelines(problem + "\n" for problem in new)
        if len(self._known) > self._max_share * self._num_images:
            shown = "; ".join(sorted(self._known)[:5])
            raise UserError(
                f"{len(self._known)} of {self._num_images} training images cannot be read, more "
                f"than data.max_unreadable {self._max_share:g} allows: repair them or raise the "
                f"limit; {self._path} lists all of them: {shown}"
            )
        return new
