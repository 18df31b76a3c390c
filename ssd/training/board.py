"""TensorBoard's files, written for as long as the disk has room for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class Board:
    """Writes the TensorBoard files of a run; after a failure it warns and writes no more.

    Args:
        folder: the folder for the files.
        steps_taken: steps taken before. TensorBoard discards its data of later steps, so that no
            curve runs backwards.
        say: takes a warning.
    """

    def __init__(self, folder: Path, steps_taken: int, say: Callable[[str], None]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=steps_taken + 1)
        self._say = say

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Adds a point to a curve."""
        self._try(lambda writer: writer.add_scalar(tag, value, step))

    def picture(self, tag: str, pixels: Any, step: int) -> None:
        """Shows a picture [H, W, 3] uint8."""
        self._try(lambda writer: writer.add_image(tag, pixels, step, dataformats="HWC"))

    def text(self, tag: str, text: str, step: int) -> None:
        """Shows a text."""
        self._try(lambda writer: writer.add_text(tag, text, step))

    def flush(self) -> None:
        """Waits until the file has everything: a kill would lose what the writer's thread holds."""
        self._try(lambda writer: writer.flush())

    def close(self) -> None:
        """Writes what is pending and closes the file."""
        self._try(lambda writer: writer.close())

    def _try(self, write: Callable[[Any], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except OSError as error:
            self._writer = None
            self._say(
                f"warning: TensorBoard's file cannot be written ({error.strerror}): the curves "
                "continue when the run is resumed"
            )
