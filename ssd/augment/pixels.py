"""Applies a plan to the pixels of a batch on the CPU.

Crop, expansion, flip and resize are one resampling, separable into rows and columns. Along each
axis every output pixel is a weighted sum of a few source pixels, its taps. Taps beyond the image
stand for the mean colour, which is 0 once normalised: they are left out. The colours change
before, pixel by pixel, as in Caffe, or after, which is less work where an image shrinks.

Letters: `H`, `W` pixels of the image, `S` of the output, `K` taps of an output pixel, `X` the
numbers of a row of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ssd.augment.colours import change_colours, colours_of_bytes
from ssd.augment.plan import Plan
from ssd.structures import PackedSamples

Taps = tuple[Tensor, Tensor]


def apply_plan(
    samples: PackedSamples,
    plan: Plan,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    antialias: bool,
    colours_last: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The images [B, 3, S, S] that the plan makes: normalised, channels_last.

    Args:
        samples: the decoded images.
        plan: what happens to each; read to the host once.
        size: S, width and height of the output in pixels.
        mean: RGB, 0 … 255, subtracted; also the colour of what lies beyond an image.
        std: RGB, 0 … 255, divided by.
        antialias: whether shrinking averages all pixels that an output pixel covers.
        colours_last: change the colours of the resized image, not of the image.
        dtype: of the result; all is computed in float32.
    """
    mean_X, std_X = torch.tensor(mean).repeat(size), torch.tensor(std).repeat(size)
    images_BSX = torch.zeros((len(samples.sizes), size, 3 * size), dtype=dtype)
    starts, sizes = samples.offsets.tolist(), samples.sizes.tolist()
    windows, flips, colours = plan.windows.tolist(), plan.flip.tolist(), _colours(plan)
    for index, ((height, width), (x1, y1, x2, y2)) in enumerate(zip(sizes, windows, strict=True)):
        top, bottom, left, right = max(y1, 0), min(y2, height), max(x1, 0), min(x2, width)
        if top >= bottom or left >= right:
            continue  # nothing of the image is in the window
        start = starts[index]
        image_HW3 = samples.pixels[start : start + height * width * 3].view(height, width, 3)
        cut_HW3 = image_HW3[top:bottom, left:right]
        rows = axis_taps((y1, y2), (top, bottom), size, antialias)
        columns = axis_taps((x1, x2), (left, right), size, antialias)
        if flips[index]:
            columns = columns[0].flip(0), columns[1].flip(0)
        covered_SX = rows[1].sum(1, keepdim=True) * columns[1].sum(1).repeat_interleave(3)
        if colours_last:
            resized_SX = _resample(cut_HW3.float(), rows, columns).div_(covered_SX.clamp(min=1e-12))
            change_colours(resized_SX.view(size, size, 3), *colours[index])
            resized_SX.mul_(covered_SX)
        else:
            resized_SX = _resample(colours_of_bytes(cut_HW3, *colours[index]), rows, columns)
        resized_SX.addcmul_(covered_SX, mean_X, value=-1)
        torch.div(resized_SX, std_X, out=images_BSX[index])
    return images_BSX.view(-1, size, size, 3).permute(0, 3, 1, 2)


def axis_taps(window: tuple[int, int], cut: tuple[int, int], size: int, antialias: bool) -> Taps:
    """Which pixels of the cut make each of the `size` output pixels along one axis.

    Args:
        window: first and one past the last pixel of what becomes the output.
        cut: the same of the part of it that the image covers.
        size: S, output pixels.
        antialias: whether the weights widen when the window shrinks.

    Returns:
        Positions in the cut [S, K], int64, and weights [S, K], float32. The weights fall
        linearly with the distance from the output pixel's centre and sum to 1 over the window:
        bilinear interpolation as in `torch.nn.functional.interpolate`, of the window alone.
        Beyond the cut they are 0.
    """
    start, end = window
    scale = (end - start) / size
    reach = max(scale, 1.0) if antialias else 1.0
    centres_S1 = start + (np.arange(size)[:, None] + 0.5) * scale - 0.5
    firsts_S1 = np.floor(centres_S1 - reach).astype(np.int64)
    places_SK = firsts_S1 + np.arange(1, math.ceil(2 * reach) + 1)

    weights_SK = np.maximum(1 - np.abs(places_SK - centres_S1) / reach, 0)
    weights_SK *= (places_SK >= start) & (places_SK < end)
    weights_SK /= weights_SK.sum(1, keepdims=True)
    weights_SK *= (places_SK >= cut[0]) & (places_SK < cut[1])
    places_SK = places_SK.clip(cut[0], cut[1] - 1) - cut[0]
    return torch.from_numpy(places_SK), torch.from_numpy(weights_SK.astype(np.float32))


def _resample(image_HW3: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """The image as [S, X]: rows first, then columns, as the rows of the transposed image."""
    height, width, _ = image_HW3.shape
    size = len(rows[0])
    rows_SX = _weighted_sums(image_HW3.view(height, 3 * width), rows)
    columns_WS3 = _transpose(rows_SX.view(size, width, 3))
    columns_SX = _weighted_sums(columns_WS3.view(width, 3 * size), columns)
    return _transpose(columns_SX.view(size, size, 3)).view(size, 3 * size)


def _transpose(image_HW3: Tensor) -> Tensor:
    """The image as [W, H, 3], contiguous: by OpenCV, which takes a third of PyTorch's time."""
    return torch.from_numpy(cv2.transpose(image_HW3.numpy()))


def _weighted_sums(table_NX: Tensor, taps: Taps) -> Tensor:
    """For each output the sum [S, X] of the table's rows [N, X] at its taps, by weight."""
    places_SK, weights_SK = taps
    return embedding_bag(places_SK, table_NX, per_sample_weights=weights_SK, mode="sum")


def _colours(plan: Plan) -> list[tuple[float, float, float, float, bool]]:
    """Brightness, contrast, saturation, hue and contrast_first of each image, on the host."""
    numbers = plan.brightness, plan.contrast, plan.saturation, plan.hue
    columns = torch.stack(numbers, 1).tolist(), plan.contrast_first.tolist()
    return [(*row, first) for row, first in zip(*columns, strict=True)]
