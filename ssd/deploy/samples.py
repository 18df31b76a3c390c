"""Images of a run's data, or of a folder: to check an exported file on, and to calibrate it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ssd.common.errors import UserError
from ssd.common.progress import Progress
from ssd.config import Config
from ssd.data.image import read_pixels
from ssd.data.layout import locate
from ssd.data.source import load_data
from ssd.detect.evaluate import located, read_data
from ssd.detect.few_packages import Pixels, read_picture
from ssd.detect.sources import files_in, no_image
from ssd.run.names import DIVISION
from ssd.structures import DataSet

CHECKED = 32  # images
CALIBRATED = 64  # images

T = TypeVar("T")


class Samples(NamedTuple):
    """The place of a run's images.

    Attributes:
        config: of the run, with its data.
        classes: of the run.
        run: its folder, if it is in one.
        folder: images to take instead, for lack of the data.
    """

    config: Config
    classes: Sequence[str]
    run: Path | None
    folder: Path | None

    def evaluation_data(self) -> DataSet | None:
        """The evaluation data, or None if a folder takes its place.

        Raises:
            UserError: it is not there, or it is invalid.
        """
        if self.folder is not None:
            return None
        try:
            return read_data(located(self.config), self.classes, self._division)
        except UserError as error:
            raise UserError(f"{error}; or give --images FOLDER to check the export on") from error

    def to_check(self, data: DataSet | None) -> list[Pixels]:
        """Up to `CHECKED` images, spread over the evaluation data or over the folder.

        Raises:
            UserError: there is none, or one cannot be read.
        """
        if data is not None:
            return [read_pixels(record) for record in spread(data.records, CHECKED)]
        return [read_picture(file) for file in spread(self._files(), CHECKED)]

    def to_calibrate(self) -> Iterator[Pixels]:
        """Up to `CALIBRATED` images, spread over the training data or over the folder.

        Raises:
            UserError: there is none, or one cannot be read.
        """
        if self.folder is not None:
            return read_each(read_picture, spread(self._files(), CALIBRATED))
        data = locate(self.config.data)[0]
        try:
            loaded = load_data(data, data.train_split, self.classes, division=self._division)
        except UserError as error:
            raise UserError(f"{error}; or give --images FOLDER to calibrate with") from error
        return read_each(read_pixels, spread(loaded.records, CALIBRATED))

    @property
    def _division(self) -> Path | None:
        return None if self.run is None else self.run / DIVISION

    def _files(self) -> list[Path]:
        assert self.folder is not None
        if not self.folder.exists():
            raise UserError(f"--images is {self.folder}, which does not exist: correct the path")
        files = files_in(self.folder)
        if not files:
            raise UserError(no_image([self.folder]))
        return files


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, from the first to the last in equal steps."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    return [items[place] for place in places.tolist()]


def read_each(read: Callable[[T], Pixels], items: Sequence[T]) -> Iterator[Pixels]:
    """Reads one image after another, and shows the progress of their use."""
    with Progress("calibrating", len(items), "image") as progress:
        for item in items:
            yield read(item)
            progress.advance()
