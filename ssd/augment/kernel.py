"""Applies a plan to the pixels of a batch on a GPU: `pixels.py` as one Triton kernel.

Each program makes one tile of one image. For every pixel of the tile it gathers the taps from the
packed bytes, changes their colours and adds them up. Only the normalised batch is written, and
nothing is read back to the host: the number of taps of an image is computed on the device.

A tap's position, a whole number, decides if it counts. Its weight depends on its distance from the
output pixel's centre, a multiple of 1 / (2 · SIZE) pixel, with SIZE the output pixels of the axis.
Both are exact, however large the image. Colours range over 0 … 1, because the hardware clamps to
that range for free.

Letters: `B` images, `S`, `Z` rows and columns of the output, `Y`, `X` rows and columns of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ssd.augment.kernel_colours import change_colours, load_colours
from ssd.augment.mix import MixedPlan
from ssd.augment.plan import Plan
from ssd.common.sides import Size, both
from ssd.structures import PackedSamples

TILE = 8, 32  # rows, columns
WARPS = 4  # per tile, of 32 threads each


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
    """The images of `ssd.augment.pixels.apply_plan`, which explains the arguments.

    Samples and plan are on one CUDA device (on the CPU under Triton's interpreter). The host does
    not wait for the device.
    """
    count, device = len(samples.sizes), samples.pixels.device
    S, Z = both(size)
    images_BSZ3 = torch.empty((count, S, Z, 3), dtype=dtype, device=device)
    if isinstance(plan, MixedPlan):
        sources, weights, num_views = plan.sources, plan.weights, plan.sources.shape[1]
        windows, flip = plan.view_windows, plan.view_flips
    else:
        sources, weights, num_views = samples.offsets, plan.contrast, 1  # which are not read
        windows, flip = plan.windows, plan.flip
    inputs = (
        samples.pixels,
        samples.offsets,
        samples.sizes,
        windows,
        flip,
        plan.brightness,
        plan.contrast,
        plan.saturation,
        plan.hue,
        plan.contrast_first,
        sources,
        weights,
    )
    grid = triton.cdiv(Z, TILE[1]), triton.cdiv(S, TILE[0]), count
    with torch.cuda.device_of(samples.pixels):
        augment_tile[grid](
            *(tensor.contiguous() for tensor in inputs),
            images_BSZ3,
            SIZE=(S, Z),
            MEAN=tuple(mean),
            STD=tuple(std),
            ANTIALIAS=antialias,
            COLOURS_LAST=colours_last,
            VIEWS=num_views,
            TILE=TILE,
            num_warps=WARPS,
        )
    return images_BSZ3.permute(0, 3, 1, 2)


@triton.jit
def augment_tile(
    pixels,
    offsets,
    sizes,
    windows,
    flip,
    brightness,
    contrast,
    saturation,
    hue,
    contrast_first,
    sources,
    weights,
    images,
    SIZE: tl.constexpr,
    MEAN: tl.constexpr,
    STD: tl.constexpr,
    ANTIALIAS: tl.constexpr,
    COLOURS_LAST: tl.constexpr,
    VIEWS: tl.constexpr,
    TILE: tl.constexpr,
):
    """Makes one tile; the grid is (tiles per row, tiles per column, images).

    With one view, each image shows itself; `sources` and `weights` are not read.
    """
    image = tl.program_id(2).to(tl.int64)
    rows_Y1 = tl.program_id(1) * TILE[0] + tl.arange(0, TILE[0])[:, None]
    columns_1X = tl.program_id(0) * TILE[1] + tl.arange(0, TILE[1])[None, :]
    inside = (rows_Y1 < SIZE[0]) & (columns_1X < SIZE[1])
    places = images + ((image * SIZE[0] + rows_Y1) * SIZE[1] + columns_1X) * 3

    packed = pixels, offsets, sizes
    steps = brightness, contrast, saturation, hue, contrast_first
    if VIEWS == 1:
        red, green, blue = _view(
            *(image, image, rows_Y1, columns_1X, packed, windows, flip, steps),
            *(SIZE, MEAN, STD, ANTIALIAS, COLOURS_LAST, TILE),
        )
    else:
        red = tl.zeros(TILE, tl.float32)
        green, blue = red, red
        for number in range(VIEWS):
            view = image * VIEWS + number
            weight = tl.load(weights + view)
            if weight > 0:
                view_red, view_green, view_blue = _view(
                    *(tl.load(sources + view), view, rows_Y1, columns_1X, packed, windows, flip),
                    *(steps, SIZE, MEAN, STD, ANTIALIAS, COLOURS_LAST, TILE),
                )
                red += weight * view_red
                green += weight * view_green
                blue += weight * view_blue
    tl.store(places, red, inside)
    tl.store(places + 1, green, inside)
    tl.store(places + 2, blue, inside)


@triton.jit
def _view(
    source,
    view,
    rows_Y1,
    columns_1X,
    packed,
    windows,
    flip,
    steps,
    SIZE: tl.constexpr,
    MEAN: tl.constexpr,
    STD: tl.constexpr,
    ANTIALIAS: tl.constexpr,
    COLOURS_LAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """The normalised pixels of a tile that shows the image `source` as `view` wants it."""
    pixels, offsets, sizes = packed
    y_side, x_side = sizes + 2 * source, sizes + 2 * source + 1
    y_axis, y_count = _axis(rows_Y1, y_side, windows + 4 * view + 1, SIZE[0], ANTIALIAS)
    columns_1X = tl.where(tl.load(flip + view), SIZE[1] - 1 - columns_1X, columns_1X)
    x_axis, x_count = _axis(columns_1X, x_side, windows + 4 * view, SIZE[1], ANTIALIAS)
    colours = load_colours(source, steps)
    start = pixels + tl.load(offsets + source)
    y_taps, x_taps = y_count * _touches(y_axis, y_count), x_count * _touches(x_axis, x_count)
    red, green, blue = _sums_of_taps(
        start, y_axis, y_taps, x_axis, x_taps, colours, SIZE, COLOURS_LAST, TILE
    )
    y_whole, y_covered = _sums_of_weights(y_axis, y_count, SIZE[0])
    x_whole, x_covered = _sums_of_weights(x_axis, x_count, SIZE[1])
    covered = y_covered * x_covered
    scale = 1 / tl.maximum(covered, 1e-12)
    red, green, blue = red * scale, green * scale, blue * scale
    if COLOURS_LAST:
        red, green, blue = change_colours(red, green, blue, colours)
    share = covered / tl.maximum(y_whole * x_whole, 1e-12)  # the rest is the mean colour
    red = (red * (255 / STD[0]) - MEAN[0] / STD[0]) * share
    green = (green * (255 / STD[1]) - MEAN[1] / STD[1]) * share
    blue = (blue * (255 / STD[2]) - MEAN[2] / STD[2]) * share
    return red, green, blue


@triton.jit
def _axis(outputs, side, window, SIZE: tl.constexpr, ANTIALIAS: tl.constexpr):
    """The taps of some output pixels along one axis, as `_weights` takes them, and their count.

    `side` points to the image's side, `window` to the window's start, two numbers before its end.
    Every output pixel has `count` taps from its `first` on; some have weight 0, because weights are
    a tent over the centre. `centres`, `reach` and `distance` are in units of 1 / (2 · SIZE) pixel.
    """
    start, end = tl.load(window).to(tl.int32), tl.load(window + 2).to(tl.int32)
    centres = (2 * outputs + 1).to(tl.int64) * (end - start) - SIZE
    reach = 2 * SIZE
    if ANTIALIAS:
        reach = tl.maximum(2 * (end - start), 2 * SIZE)
    first = tl.maximum(centres - reach + 2 * SIZE, 0) // (2 * SIZE)  # none before the window
    distance = (first * (2 * SIZE) - centres).to(tl.float32)
    count = (2 * reach + 2 * SIZE - 1) // (2 * SIZE)
    side = tl.load(side).to(tl.int32)
    return (start + first.to(tl.int32), distance, 1.0 / reach, end, side), count


@triton.jit
def _weights(axis, tap, SIZE: tl.constexpr):
    """The positions of a tap in the image, its weights, and whether the image covers it."""
    first, distance, slope, end, side = axis
    places = first + tap
    weights = 1 - tl.abs(distance + tap * (2.0 * SIZE)) * slope
    weights = tl.where(places < end, tl.maximum(weights, 0), 0)
    return places, weights, (places >= 0) & (places < side)


@triton.jit
def _sums_of_weights(axis, count, SIZE: tl.constexpr):
    """The sum of all weights, and the sum over the taps that the image covers."""
    whole = tl.zeros_like(axis[1])
    covered = whole
    for tap in range(count):
        places, weights, is_covered = _weights(axis, tap, SIZE)
        whole += weights
        covered += tl.where(is_covered, weights, 0)
    return whole, covered


@triton.jit
def _sums_of_taps(
    pixels,
    y_axis,
    y_count,
    x_axis,
    x_count,
    colours,
    SIZE: tl.constexpr,
    COLOURS_LAST: tl.constexpr,
    TILE: tl.constexpr,
):
    """The weighted sums of red, green and blue over the taps that the image covers."""
    red = tl.zeros(TILE, tl.float32)
    green, blue = red, red
    width = x_axis[4]
    for y_tap in range(y_count):
        rows_Y1, weights_Y1, covered_Y1 = _weights(y_axis, y_tap, SIZE[0])
        starts_Y1 = pixels + rows_Y1.to(tl.int64) * (3 * width)
        for x_tap in range(x_count):
            columns_1X, weights_1X, covered_1X = _weights(x_axis, x_tap, SIZE[1])
            covered = covered_Y1 & covered_1X
            places = starts_Y1 + columns_1X * 3
            tap_red = tl.load(places, covered, 0).to(tl.float32)
            tap_green = tl.load(places + 1, covered, 0).to(tl.float32)
            tap_blue = tl.load(places + 2, covered, 0).to(tl.float32)
            if not COLOURS_LAST:
                tap_red, tap_green, tap_blue = change_colours(tap_red, tap_green, tap_blue, colours)
            weights = tl.where(covered, weights_Y1 * weights_1X, 0)
            red += weights * tap_red
            green += weights * tap_green
            blue += weights * tap_blue
    return red, green, blue


@triton.jit
def _touches(axis, count):
    """1 if the image covers any tap of the tile, else 0."""
    return ((tl.min(axis[0]) < axis[4]) & (tl.max(axis[0]) + count > 0)).to(tl.int32)
