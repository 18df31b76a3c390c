"""Applies a plan to the pixels of a batch on the CPU.

Crop, expansion, flip and resize are one resampling, separable into columns and rows. Along each
axis every output pixel is a weighted sum of a few source pixels, its taps. Taps beyond the image
stand for the mean colour, which is 0 once normalised: they are left out, and an output pixel that
has no other taps is not computed. Colours change before the resampling, pixel by pixel, as in
Caffe, or after it, which is less work if the image shrinks.

Letters: `H`, `W` pixels of the image, `S`, `Z` rows and columns of the output, `N` computed output
pixels of an axis, `h` and `w` those of rows and columns, `K` taps of an output pixel, `X` the
values of a row of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ssd.augment.colours import change_colours
from ssd.augment.mix import MixedPlan
from ssd.augment.plan import Plan
from ssd.common.sides import Size, both
from ssd.structures import PackedSamples

# Brightness, contrast, saturation, hue and contrast_first of an image.
Colours = tuple[float, float, float, float, bool]


class Taps(NamedTuple):
    """The taps of the output pixels along one axis.

    Attributes:
        first: the first output pixel that has taps.
        places: positions in the cut [N, K], int64, of the taps of this and the following pixels.
        weights: weights of the taps [N, K], float32.
    """

    first: int
    places: Tensor
    weights: Tensor

    def mirrored(self, size: int) -> Taps:
        """The same taps, counted from the other end of the `size` output pixels."""
        first = size - self.first - len(self.places)
        return Taps(first, self.places.flip(0), self.weights.flip(0))


def apply_plan(
    samples: PackedSamples,
    plan: Plan,
    size: Size,
    mean: Sequence[float],
    std: Sequence[float],
    antialias: bool,
    colours_last: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The images [B, 3, S, Z] that the plan produces, normalised, channels_last.

    Args:
        samples: the decoded images.
        plan: the changes to each image; read on the host once.
        size: S and Z, height and width of the output in pixels; one number if they are equal.
        mean: RGB, 0 … 255, subtracted; also the colour beyond the image's border.
        std: RGB, 0 … 255, divided by.
        antialias: whether shrinking averages all pixels that an output pixel covers.
        colours_last: whether colours change after the resize rather than before it.
        dtype: type of the result; everything is computed in float32.
    """
    packed, device = samples.pixels.cpu(), samples.pixels.device
    is_mixed = isinstance(plan, MixedPlan)
    S, Z = both(size)
    images_BSZ3 = _zeros((len(samples.sizes), S, Z, 3), torch.float32 if is_mixed else dtype)
    mean_3, std_X = torch.tensor(mean), torch.tensor(std).repeat(Z)
    starts, sizes = samples.offsets.tolist(), samples.sizes.tolist()
    colours = _colours(plan)
    for index, source, (x1, y1, x2, y2), flip, weight in _views(plan):
        height, width = sizes[source]
        top, bottom, left, right = max(y1, 0), min(y2, height), max(x1, 0), min(x2, width)
        if top >= bottom or left >= right:
            continue  # the window misses the image
        start = starts[source]
        image_HW3 = packed[start : start + height * width * 3].view(height, width, 3)
        cut_WH3 = _transpose(image_HW3[top:bottom, left:right])
        rows = axis_taps((y1, y2), (top, bottom), S, antialias)
        columns = axis_taps((x1, x2), (left, right), Z, antialias)
        if flip:
            columns = columns.mirrored(Z)
        image_WH3 = cut_WH3.float()
        if not colours_last:
            change_colours(image_WH3, *colours[source])
        resized_hX = _resample(image_WH3, rows, columns)
        rows_h1, columns_w1 = (axis.weights.sum(1, keepdim=True) for axis in (rows, columns))
        if colours_last:
            covered_hX = rows_h1 * columns_w1.expand(-1, 3).reshape(-1)
            _change_covered(resized_hX, covered_hX, colours[source])
        resized_hX.addcmul_(rows_h1, (columns_w1 * mean_3).view(-1), value=-1)
        num_rows, num_numbers = resized_hX.shape
        below = images_BSZ3[index].view(S, 3 * Z)[rows.first :, 3 * columns.first :]
        place_hX = below[:num_rows, :num_numbers]
        if is_mixed:
            place_hX.add_(resized_hX.div_(std_X[:num_numbers]), alpha=weight)
        else:
            torch.div(resized_hX, std_X[:num_numbers], out=place_hX)
    return images_BSZ3.permute(0, 3, 1, 2).to(device, dtype)


def axis_taps(window: tuple[int, int], cut: tuple[int, int], size: int, antialias: bool) -> Taps:
    """The taps, in the cut, of the `size` output pixels along one axis.

    Args:
        window: first and one past the last pixel of the range that becomes the output.
        cut: the same for the part of the window that the image covers.
        size: output pixels of the axis.
        antialias: whether the weights widen when the window shrinks.

    Returns:
        The taps of every output pixel that reaches into the cut. Weights fall linearly with the
        distance from the output pixel's centre and sum to 1 over the window: bilinear interpolation
        of the window alone, as in `torch.nn.functional.interpolate`. Beyond the cut they are 0.
    """
    start, end = window
    scale = (end - start) / size
    reach = max(scale, 1.0) if antialias else 1.0
    first = max(math.floor((cut[0] - reach + 0.5 - start) / scale - 0.5), 0)
    last = math.ceil((cut[1] + reach - 0.5 - start) / scale - 0.5)
    last = min(max(last, first + 1), size)  # without antialiasing a small cut may be skipped
    centres_N1 = start + (np.arange(first, last)[:, None] + 0.5) * scale - 0.5
    firsts_N1 = np.floor(centres_N1 - reach).astype(np.int64)
    places_NK = firsts_N1 + np.arange(1, math.ceil(2 * reach) + 1)

    weights_NK = np.maximum(1 - np.abs(places_NK - centres_N1) / reach, 0)
    weights_NK *= (places_NK >= start) & (places_NK < end)
    weights_NK /= weights_NK.sum(1, keepdims=True)
    weights_NK *= (places_NK >= cut[0]) & (places_NK < cut[1])
    places_NK = np.minimum(np.maximum(places_NK, cut[0]), cut[1] - 1) - cut[0]
    return Taps(first, torch.from_numpy(places_NK), torch.from_numpy(weights_NK.astype(np.float32)))


def _change_covered(resized_hX: Tensor, covered_hX: Tensor, colours: Colours) -> None:
    """Changes the colours of the image's contribution, in place; `covered_hX` is its share."""
    resized_hX.div_(covered_hX.clamp(min=1e-12))
    change_colours(resized_hX.view(len(resized_hX), -1, 3), *colours)
    resized_hX.mul_(covered_hX)


def _resample(image_WH3: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Resamples the transposed image to [h, X]: columns first, then rows."""
    width, height, _ = image_WH3.shape
    columns_wX = _weighted_sums(image_WH3.view(width, 3 * height), columns)
    rows_Hw3 = _transpose(columns_wX.view(-1, height, 3))
    return _weighted_sums(rows_Hw3.view(height, -1), rows)


def _transpose(image_HW3: Tensor) -> Tensor:
    """The image as [W, H, 3], contiguous: by OpenCV, which takes a third of PyTorch's time."""
    return torch.from_numpy(cv2.transpose(image_HW3.numpy()))


def _weighted_sums(table_LX: Tensor, taps: Taps) -> Tensor:
    """The weighted sum [N, X] of the table's rows [L, X] at the taps of each output pixel."""
    return embedding_bag(taps.places, table_LX, per_sample_weights=taps.weights, mode="sum")


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros from NumPy: fresh memory is already zero, while `torch.zeros` writes all of it."""
    return (
        torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8))
        .view(dtype)
        .view(shape)
    )


def _views(plan: Plan) -> Iterable[tuple[int, int, list[int], bool, float]]:
    """Each view on the host: (image of the batch, image that it shows, window, flip, weight)."""
    if isinstance(plan, MixedPlan):
        shown_BV = plan.weights > 0
        fields = plan.sources, plan.view_windows, plan.view_flips, plan.weights
        columns = [shown_BV.nonzero()[:, 0], *(field[shown_BV] for field in fields)]
    else:
        own_B = torch.arange(len(plan.flip))
        columns = [own_B, own_B, plan.windows, plan.flip, torch.ones(len(own_B))]
    return zip(*(column.tolist() for column in columns), strict=True)


def _colours(plan: Plan) -> list[Colours]:
    """The colour changes of each image, on the host."""
    numbers = plan.brightness, plan.contrast, plan.saturation, plan.hue
    columns = torch.stack(numbers, 1).tolist(), plan.contrast_first.tolist()
    return [(*row, first) for row, first in zip(*columns, strict=True)]
