"""Images → the input of an exported network, by NumPy and OpenCV alone.

The result is that of `ssd.augment.pixels` for a whole image, to float32's precision.

Letters: `H`, `W` pixels of the image, `S`, `Z` rows and columns of the output, `N` pixels along an
axis, `M` along the other, `X` the values of a row of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ssd.common.sides import Size, both

Floats = npt.NDArray[np.float32]
AT_ONCE = 16  # output rows of one product: the fastest of 4 … 64


def network_input(
    image_HW3: npt.NDArray[np.uint8],
    size: Size,
    mean: Sequence[float],
    std: Sequence[float],
    antialias: bool,
) -> Floats:
    """The image as the network takes it, [1, 3, S, Z], resized and normalised.

    Args:
        image_HW3: RGB.
        size: S and Z, or one number if they are equal.
        mean: RGB, 0 … 255, subtracted.
        std: RGB, 0 … 255, divided by.
        antialias: whether shrinking averages all pixels that an output pixel covers.
    """
    S, Z = both(size)
    rows_SW3 = _resampled(image_HW3, S, antialias)
    resized_ZS3 = _resampled(cv2.transpose(rows_SW3), Z, antialias)  # columns first
    input_13SZ = np.empty((1, 3, S, Z), np.float32)
    for colour, plane_ZS in enumerate(cv2.split(resized_ZS3)):
        plane_SZ = input_13SZ[0, colour]
        np.subtract(plane_ZS.T, np.float32(mean[colour]), out=plane_SZ)
        plane_SZ /= np.float32(std[colour])
    return input_13SZ


@lru_cache(4)  # for pictures of the same size one after another
def axis_weights(length: int, size: int, antialias: bool) -> Floats:
    """The weight [S, N] of each of `length` pixels along an axis in each of S output pixels.

    Weights fall linearly with the distance from the output pixel's centre and sum to 1.
    """
    centres_S1 = (2 * np.arange(size)[:, None] + 1) * length - size
    distances_SN = np.abs(2 * size * np.arange(length) - centres_S1)
    reach = 2 * (max(length, size) if antialias else size)
    weights_SN = np.maximum(1 - distances_SN / reach, 0)
    return np.asarray(weights_SN / weights_SN.sum(1, keepdims=True), np.float32)


def _resampled(image_NM3: npt.NDArray[Any], size: int, antialias: bool) -> Floats:
    """The weighted sums [S, M, 3] of the rows; few of them have a weight in some output rows."""
    weights_SN = axis_weights(len(image_NM3), size, antialias)
    result_SM3 = np.empty((size, *image_NM3.shape[1:]), np.float32)
    for first in range(0, size, AT_ONCE):
        some = slice(first, first + AT_ONCE)
        taps = np.flatnonzero(weights_SN[some].any(0))
        used = slice(taps[0], taps[-1] + 1)
        pixels_NM3 = np.ascontiguousarray(image_NM3[used], np.float32)
        sums_SX = weights_SN[some, used] @ pixels_NM3.reshape(len(pixels_NM3), -1)
        result_SM3[some] = sums_SX.reshape(-1, *pixels_NM3.shape[1:])
    return result_SM3
