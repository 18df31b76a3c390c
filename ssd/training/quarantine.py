"""Unreadable images of a run: each is reported once, and the share of training images is limited.

Every rank has to be told of the same problems, so that all of them end a run at the same step.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ssd.data.left_out import refuse_too_many
from ssd.run.names import UNREADABLE
from ssd.training.ranks import is_first


class Quarantine:
    """Counts unreadable training images, and lists all unreadable images in `unreadable.txt`.

    A resumed run counts from zero, since the images may have been repaired.

    Args:
        run_dir: the run folder.
        num_images: images of the training data, with those that were left out.
        max_share: share of them that may be unreadable.
        left_out: the problems of the training images that were left out before the first step.
    """

    def __init__(
        self, run_dir: Path, num_images: int, max_share: float, left_out: Iterable[str] = ()
    ) -> None:
        self.path = run_dir / UNREADABLE
        self._num_images = num_images
        self._max_share = max_share
        self._noted: set[str] = set()
        self._training = dict.fromkeys(left_out)

    def note(self, problems: Iterable[str]) -> list[str]:
        """Records problems of any images; returns the new ones."""
        new = sorted(set(problems) - self._noted)
        self._noted |= set(new)
        if new and is_first():
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(problem + "\n" for problem in new)
        return new

    def take(self, problems: Iterable[str]) -> list[str]:
        """Records problems of training images; returns the new ones.

        Raises:
            UserError: more than the allowed share of the images are unreadable.
        """
        new = self.note(problems)
        self._training.update(dict.fromkeys(new))
        where = f"{self.path} lists all of them"
        refuse_too_many(self._training, self._num_images, self._max_share, "training images", where)
        return new
