"""The objects found in one picture, for those who ask from Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ssd.common.words import counted
from ssd.evaluation.detections import DetectionTable
from ssd.report.pictures import Box, Picture, boxes, draw

if TYPE_CHECKING:  # the results of an exported file come without PyTorch
    from ssd.structures import FloatArray, IntArray

SHOWN_OBJECTS = 5  # in `repr`


class Found(NamedTuple):
    """One object: its class, its score from 0 to 1, and its box [4], xyxy in pixels."""

    name: str
    score: float
    box: FloatArray


@dataclass(frozen=True)
class Result:
    """The objects found in one picture, best first.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | image | – | str | the file's stem, or the picture's place among those given |
    | boxes | [D, 4] | float32 | xyxy, pixels of the picture, 0-based |
    | scores | [D] | float32 | softmax probability |
    | labels | [D] | int64 | 1 … C−1 |
    | names | D | tuple[str, …] | the class of each |
    | pixels | [H, W, 3] | uint8 | the picture, RGB |
    | classes | C−1 | tuple[str, …] | all that the detector knows, from label 1 on |
    """

    image: str
    boxes: FloatArray
    scores: FloatArray
    labels: IntArray
    names: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """The number of objects."""
        return len(self.scores)

    def __iter__(self) -> Iterator[Found]:
        """The objects one by one, best first."""
        return map(Found, self.names, self.scores.tolist(), self.boxes)

    def __repr__(self) -> str:
        """The number of objects and the best of them, since the pixels would fill the screen."""
        shown = [f"{name} {score:.2f}" for name, score, _ in islice(self, SHOWN_OBJECTS)]
        more = ["…"] if len(self) > SHOWN_OBJECTS else []
        best = f": {', '.join(shown + more)}" if shown else ""
        return f"{counted(len(self), 'detection')}{best}"

    def draw(self, ground_truth: Sequence[Box] = ()) -> npt.NDArray[np.uint8]:
        """A copy of the picture with its objects drawn in, [H, W, 3] RGB.

        Args:
            ground_truth: boxes to draw beside them, dashed.
        """
        found = boxes(self.classes, self.labels.tolist(), self.boxes, self.scores.tolist())
        return draw(Picture(self.image, self.pixels, found, ground_truth))

    def only(self, classes: Sequence[str] = (), most: int | None = None) -> Result:
        """The best of its objects.

        Args:
            classes: names of those to keep; all if it is empty.
            most: how many to keep; all if it is None.
        """
        kept = [not classes or name in classes for name in self.names]
        places = np.flatnonzero(kept)[:most]
        return replace(
            self,
            boxes=self.boxes[places],
            scores=self.scores[places],
            labels=self.labels[places],
            names=tuple(self.names[place] for place in places),
        )

    def to_coco(self, image_id: str | int | None = None) -> list[dict[str, Any]]:
        """The objects in the form of COCO's results, with the class by name and by label.

        Args:
            image_id: the picture's id; without it, `image`.
        """
        corners = self.boxes.astype(np.float64)
        bbox = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
        rows = zip(self.names, self.labels, bbox, self.scores, strict=True)
        return [
            {
                "image_id": self.image if image_id is None else image_id,
                "category": name,
                "category_id": int(label),
                "bbox": sides.tolist(),
                "score": float(score),
            }
            for name, label, sides, score in rows
        ]


def table_of(results: Sequence[Result]) -> DetectionTable:
    """The results of several pictures as one table."""
    return DetectionTable(
        np.repeat(np.arange(len(results)), np.array([len(one) for one in results], np.int64)),
        np.concatenate([np.zeros(0, np.int64), *(one.labels for one in results)]),
        np.concatenate([np.zeros(0), *(one.scores for one in results)]),
        np.concatenate([np.zeros((0, 4)), *(one.boxes for one in results)]),
    )
