"""Caffe's expansion and crop as Albumentations transforms, which that library lacks.

Both cut a window of whole pixels, chosen at random as `plan.py` does for the device. Importing this
module imports Albumentations, so `library_file.py` imports it only when it reads a pipeline.
"""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt
import torch
from albumentations.core.type_definitions import Targets

from ssd.augment.crop import CROP_DRAWS, draw_crop
from ssd.augment.plan import draw_canvas, move_boxes

Window = tuple[int, int, int, int]
Array = npt.NDArray[Any]


class _Window(A.DualTransform):
    """Cuts a window (x1, y1, x2, y2), in pixels, which may extend beyond the image."""

    _targets = (Targets.IMAGE, Targets.BBOXES)
    fill: tuple[float, ...] = (0, 0, 0)

    @classmethod
    def get_class_fullname(cls) -> str:
        """The name of the transform in a pipeline's file."""
        return cls.__name__

    def apply(self, img: Array, window: Window, **params: Any) -> Array:
        """The pixels of the window; those beyond the image have the colour `fill`."""
        (x1, y1, x2, y2), (height, width) = window, img.shape[:2]
        part = img[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)]
        edges = max(-y1, 0), max(y2 - height, 0), max(-x1, 0), max(x2 - width, 0)
        return np.asarray(cv2.copyMakeBorder(part, *edges, cv2.BORDER_CONSTANT, value=self.fill))

    def apply_to_bboxes(self, bboxes: Array, window: Window, **params: Any) -> Array:
        """The boxes whose centre lies in the window, clipped to it and relative to it."""
        boxes_1G4 = _pixels(bboxes, params["shape"])
        some_1G = torch.ones(boxes_1G4.shape[:2], dtype=torch.int64)
        windows_14, flip_1 = torch.tensor([window]).float(), torch.zeros(1, dtype=torch.bool)
        moved_1G4, kept_1G = move_boxes(boxes_1G4, some_1G, windows_14, flip_1)
        kept_G = kept_1G[0].bool().numpy()
        return np.asarray(np.hstack([moved_1G4[0].numpy(), bboxes[:, 4:]])[kept_G])


class SSDExpand(_Window):
    """Places the image at a random position on a larger canvas of one colour.

    Args:
        expand_max: largest ratio of the canvas's sides to the image's.
        fill: the colour, RGB, 0 … 255.
        p: probability.
    """

    def __init__(
        self,
        expand_max: float = 4.0,
        fill: tuple[float, float, float] = (124, 116, 104),
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.expand_max = float(expand_max)
        self.fill = (float(fill[0]), float(fill[1]), float(fill[2]))
        if not 1 <= self.expand_max <= 16:
            raise ValueError(f"expand_max is {expand_max}, but has to be from 1 to 16")

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Window]:
        """The window of this image."""
        draws_14 = torch.from_numpy(self.random_generator.random((1, 4), np.float32))
        canvas_14 = draw_canvas(_whole(params["shape"]), draws_14, 1.0, self.expand_max)
        return {"window": _numbers(canvas_14)}


class SSDCrop(_Window):
    """Crops to a window that one of Caffe's seven samplers draws by its overlap with an object.

    Args:
        min_scale: side of the smallest window relative to the image, before its aspect ratio.
        p: probability that the samplers try; one of them keeps the whole image.
    """

    def __init__(self, min_scale: float = 0.3, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.min_scale = float(min_scale)
        if not 0.05 <= self.min_scale <= 1:
            raise ValueError(f"min_scale is {min_scale}, but has to be from 0.05 to 1")

    @property
    def targets_as_params(self) -> list[str]:
        """The data that the window depends on."""
        return ["bboxes"]

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Window]:
        """The window of this image."""
        boxes_1G4 = _pixels(data["bboxes"], params["shape"])
        some_1G = torch.ones(boxes_1G4.shape[:2], dtype=torch.int64)
        draws_1N = torch.from_numpy(self.random_generator.random((1, CROP_DRAWS), np.float32))
        canvas_14 = _whole(params["shape"])
        _, window_14 = draw_crop(canvas_14, boxes_1G4, some_1G, draws_1N, self.min_scale)
        return {"window": _numbers(window_14)}


def _whole(shape: tuple[int, ...]) -> torch.Tensor:
    """The window [1, 4] that is the whole image of this shape."""
    return torch.tensor([[0, 0, shape[1], shape[0]]], dtype=torch.float32)


def _pixels(bboxes: Array, shape: tuple[int, ...]) -> torch.Tensor:
    """Boxes [1, G, 4] in pixels, float32, from Albumentations' rows, which are relative."""
    sides = np.array([shape[1], shape[0]] * 2)
    return torch.from_numpy((bboxes[None, :, :4] * sides).astype(np.float32))


def _numbers(window_14: torch.Tensor) -> Window:
    x1, y1, x2, y2 = window_14[0].int().tolist()
    return x1, y1, x2, y2
