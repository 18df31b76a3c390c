"""Images → the input of an exported network, by NumPy alone.

The result is that of `ssd.augment.pixels` for a whole image, to float32's precision.

Letters: `H`, `W` pixels of the image, `S` of the output, `N` pixels along an axis, `X` the values
of a row of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def network_input(
    image_HW3: npt.NDArray[np.uint8],
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    antialias: bool,
) -> Floats:
    """The image as the network takes it, [1, 3, S, S], resized and normalised.

    Args:
        image_HW3: RGB.
        size: S.
        mean: RGB, 0 … 255, subtracted.
        std: RGB, 0 … 255, divided by.
        antialias: whether shrinking averages all pixels that an output pixel covers.
    """
    height, width, _ = image_HW3.shape
    rows_SW3 = _resampled(image_HW3.reshape(height, -1), size, antialias).reshape(size, width, 3)
    columns_WS3 = np.ascontiguousarray(rows_SW3.transpose(1, 0, 2)).reshape(width, -1)
    resized_SS3 = _resampled(columns_WS3, size, antialias).reshape(size, size, 3)  # columns first
    mean_3, std_3 = np.array(mean, np.float32), np.array(std, np.float32)
    normalised: Floats = (resized_SS3 - mean_3) / std_3
    return np.ascontiguousarray(normalised.transpose(2, 1, 0))[None]


def axis_weights(length: int, size: int, antialias: bool) -> Floats:
    """The weight [S, N] of each of `length` pixels along an axis in each of S output pixels.

    Weights fall linearly with the distance from the output pixel's centre and sum to 1.
    """
    centres_S1 = (2 * np.arange(size)[:, None] + 1) * length - size
    distances_SN = np.abs(2 * size * np.arange(length) - centres_S1)
    reach = 2 * (max(length, size) if antialias else size)
    weights_SN = np.maximum(1 - distances_SN / reach, 0)
    return np.asarray(weights_SN / weights_SN.sum(1, keepdims=True), np.float32)


def _resampled(table_NX: npt.NDArray[Any], size: int, antialias: bool) -> Floats:
    """The weighted sums [S, X] of the table's rows; only those with a weight are looked at."""
    result_SX = np.empty((size, table_NX.shape[1]), np.float32)
    for row_X, weights_N in zip(
        result_SX, axis_weights(len(table_NX), size, antialias), strict=True
    ):
        taps = np.flatnonzero(weights_N)
        used = slice(taps[0], taps[-1] + 1)
        np.matmul(weights_N[used], table_NX[used].astype(np.float32), out=row_X)
    return result_SX
