"""The turns of Exif's orientation, for pixels and for boxes.

Orientation 6, for example, says that a viewer shows the stored image turned by a quarter to the
right. Every turn is a transposition or none, and then a flip of x, of y, of both or of neither.
Source: Exif 2.32, tag 0x0112.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # an exported file reads images without PyTorch
    from ssd.data.cache import Pixels
    from ssd.structures import IntArray

Floats = npt.NDArray[np.float64]

UPRIGHT = 1
#        orientation: transposed, x flipped, y flipped
TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
INVERSE = {**{orientation: orientation for orientation in TURNS}, 6: 8, 8: 6}


def turned_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """(width, height) of a stored image of this size once it is turned."""
    transposed, _, _ = TURNS[orientation]
    return (height, width) if transposed else (width, height)


def turned_pixels(pixels: Pixels, orientation: int) -> Pixels:
    """The stored pixels [H, W, 3] as a viewer shows them."""
    transposed, flip_x, flip_y = TURNS[orientation]
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def turned_corners(corners_N4: Floats, sizes_N2: IntArray, orientation: int) -> Floats:
    """Boxes [N, 4], xyxy in stored images of sizes [N, 2] (width, height), once they are turned."""
    transposed, flip_x, flip_y = TURNS[orientation]
    if transposed:
        corners_N4, sizes_N2 = corners_N4[:, [1, 0, 3, 2]], sizes_N2[:, ::-1]
    turned = corners_N4.copy()
    if flip_x:
        turned[:, [0, 2]] = sizes_N2[:, :1] - corners_N4[:, [2, 0]]
    if flip_y:
        turned[:, [1, 3]] = sizes_N2[:, 1:] - corners_N4[:, [3, 1]]
    return turned


def turned_sides(boxes_N4: Floats, sizes_N2: IntArray, orientation: int) -> Floats:
    """Boxes [N, 4] of x, y, width and height, as `turned_corners` turns them."""
    sides = boxes_N4[:, 2:]
    corners = np.concatenate([boxes_N4[:, :2], boxes_N4[:, :2] + sides], 1)
    transposed, _, _ = TURNS[orientation]
    turned = turned_corners(corners, sizes_N2, orientation)
    # The sides stay as they are: a difference of corners would round them.
    return np.concatenate([turned[:, :2], sides[:, ::-1] if transposed else sides], 1)
