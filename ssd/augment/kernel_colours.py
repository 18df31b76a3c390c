"""The colour changes within the kernel, on the pixels of a tile."""

import triton
import triton.language as tl


@triton.jit
def load_colours(image, steps):
    """The colour changes of an image, in the units of `change_colours`."""
    brightness, contrast, saturation, hue, contrast_first = steps
    return (
        tl.load(brightness + image) / 255,
        tl.load(contrast + image),
        tl.load(saturation + image),
        tl.load(hue + image) / 30,
        tl.load(contrast_first + image),
    )


@triton.jit
def change_colours(red, green, blue, colours):
    """The same as `ssd.augment.colours.change_colours`, but takes 0 … 255 and returns 0 … 1."""
    brightness, contrast, saturation, hue, contrast_first = colours
    before = tl.where(contrast_first, contrast, 1.0)
    after = tl.where(contrast_first, 1.0, contrast)
    red = tl.clamp(tl.clamp(red * (1 / 255) + brightness, 0.0, 1.0) * before, 0.0, 1.0)
    green = tl.clamp(tl.clamp(green * (1 / 255) + brightness, 0.0, 1.0) * before, 0.0, 1.0)
    blue = tl.clamp(tl.clamp(blue * (1 / 255) + brightness, 0.0, 1.0) * before, 0.0, 1.0)
    if (saturation != 1) | (hue != 0):
        red, green, blue = _change_saturation_and_hue(red, green, blue, saturation, hue)
    red = tl.clamp(red * after, 0.0, 1.0)
    green = tl.clamp(green * after, 0.0, 1.0)
    blue = tl.clamp(blue * after, 0.0, 1.0)
    return red, green, blue


@triton.jit
def _change_saturation_and_hue(red, green, blue, saturation, hue):
    """Scales HSV's S, capped at 1, and shifts H by `hue` sides of its hexagon."""
    value = tl.maximum(tl.maximum(red, green), blue)
    chroma = value - tl.minimum(tl.minimum(red, green), blue)
    ratio = 1 / tl.maximum(chroma, 1e-8)
    side = tl.where(
        value == red,
        (green - blue) * ratio,
        tl.where(value == green, (blue - red) * ratio + 2, (red - green) * ratio + 4),
    )
    side += hue  # stays below 6: blue's side, the largest, is at most 5, and hue is below 1
    side = tl.where(side < 0, side + 6, side)
    chroma = tl.minimum(chroma * saturation, value)
    least = value - chroma
    red = least + chroma * tl.clamp(tl.abs(side - 3) - 1, 0.0, 1.0)
    green = least + chroma * tl.clamp(2 - tl.abs(side - 2), 0.0, 1.0)
    blue = least + chroma * tl.clamp(2 - tl.abs(side - 4), 0.0, 1.0)
    return red, green, blue
