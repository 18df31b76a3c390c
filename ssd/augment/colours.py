"""Brightness, contrast, saturation and hue of an image: Caffe's `DistortImage`.

Caffe rounds to 8 bits after every step; here everything is float32, clamped to 0 … 255 where
Caffe's 8 bits clamp. Its hue sticks at red where it would fall below 0; here it goes round.
"""

from __future__ import annotations

import torch
from torch import Tensor


def change_colours(
    image_H3W: Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    contrast_first: bool,
) -> None:
    """Changes an image [H, 3, W], RGB, float32, 0 … 255, in place; steps that are off are skipped.

    Args:
        image_H3W: the image.
        brightness: added to every number; 0 is off.
        contrast: factor on every number; 1 is off.
        saturation: factor on HSV's S; 1 is off.
        hue: added to HSV's H, in steps of 2 degrees (OpenCV's); 0 is off.
        contrast_first: contrast before saturation and hue, or after.
    """
    if brightness != 0:
        image_H3W.add_(brightness).clamp_(0, 255)
    if contrast != 1 and contrast_first:
        image_H3W.mul_(contrast).clamp_(0, 255)
    if saturation != 1 or hue != 0:
        _change_saturation_and_hue(image_H3W, saturation, hue)
    if contrast != 1 and not contrast_first:
        image_H3W.mul_(contrast).clamp_(0, 255)


def _change_saturation_and_hue(image_H3W: Tensor, saturation: float, hue: float) -> None:
    """Multiplies HSV's S, at most to 1, and turns H by steps of 2 degrees, in place.

    HSV's hexagon has six sides of 60 degrees: on each of them one colour is the value V, one is
    V less the chroma, and one runs linearly between the two.
    """
    red, green, blue = image_H3W.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    ratio = chroma.clamp(min=1e-6).reciprocal_()
    side = torch.where(
        value == red,
        (green - blue) * ratio,
        torch.where(value == green, (blue - red) * ratio + 2, (red - green) * ratio + 4),
    )
    side = side.add_(hue / 30).remainder_(6)
    chroma = torch.minimum(chroma * saturation, value)
    least = value - chroma
    torch.addcmul(least, (side - 3).abs_().sub_(1).clamp_(0, 1), chroma, out=red)
    torch.addcmul(least, (side - 2).abs_().neg_().add_(2).clamp_(0, 1), chroma, out=green)
    torch.addcmul(least, (side - 4).abs_().neg_().add_(2).clamp_(0, 1), chroma, out=blue)
