"""Brightness, contrast, saturation and hue of an image: Caffe's `DistortImage`.

Caffe rounds to 8 bits after every step; here everything is float32, clamped to 0 … 255 where
Caffe's 8 bits clamp. Caffe's hue stops at red where it would fall below 0; here it wraps around.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

DEGREES = 2  # per step of hue


def change_colours(
    image_HW3: Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    contrast_first: bool,
) -> None:
    """Changes an image [H, W, 3], RGB, float32, 0 … 255, in place; steps that are off are skipped.

    Args:
        image_HW3: the image, contiguous, on the CPU.
        brightness: added to every value; 0 is off.
        contrast: factor on every value; 1 is off.
        saturation: factor on HSV's S; 1 is off.
        hue: added to HSV's H, in steps of 2 degrees (OpenCV's); 0 is off.
        contrast_first: whether contrast comes before saturation and hue, or after them.
    """
    if brightness != 0:
        image_HW3.add_(brightness).clamp_(0, 255)
    if contrast != 1 and contrast_first:
        image_HW3.mul_(contrast).clamp_(0, 255)
    if saturation != 1 or hue != 0:
        _change_saturation_and_hue(image_HW3, saturation, hue)
    if contrast != 1 and not contrast_first:
        image_HW3.mul_(contrast).clamp_(0, 255)


def _change_saturation_and_hue(image_HW3: Tensor, saturation: float, hue: float) -> None:
    """Scales HSV's S, capped at 1, and shifts H in steps of 2 degrees, in place.

    OpenCV's H is in degrees; values above 360 are fine, values below 0 are not. V is not changed,
    so it may range up to 255. Whole rows of values are changed at once: H, S, V, H, S, V, ….
    """
    assert image_HW3.is_contiguous()  # OpenCV would write to a copy
    height, width, _ = image_HW3.shape
    image = image_HW3.numpy()
    hsv = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)).view(height, 3 * width)
    if saturation != 1:
        hsv.mul_(_row(1, saturation, 1, width))
    if saturation > 1:
        torch.minimum(hsv, _row(math.inf, 1, math.inf, width), out=hsv)
    if hue != 0:
        hsv.add_(_row(DEGREES * hue % 360, 0, 0, width))
    cv2.cvtColor(hsv.view_as(image_HW3).numpy(), cv2.COLOR_HSV2RGB, dst=image)


def _row(hue: float, saturation: float, value: float, width: int) -> Tensor:
    """The three values repeated for each pixel of a row: [3·W], float32."""
    return torch.from_numpy(np.tile(np.array([hue, saturation, value], np.float32), width))
