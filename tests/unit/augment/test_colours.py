import colorsys
from itertools import product

import cv2
import numpy as np
import pytest
import torch

from ssd.augment.colours import change_colours

OFF = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "contrast_first": False}


def changed(image_HW3, **steps):
    image_HW3 = torch.from_numpy(image_HW3).float()
    change_colours(image_HW3, **{**OFF, **steps})
    return image_HW3.numpy()


def naive(pixel, brightness, contrast, saturation, hue, contrast_first):
    """One pixel, step by step, through the standard library's HSV."""
    scale = [contrast, 1.0] if contrast_first else [1.0, contrast]
    values = [min(max(value + brightness, 0), 255) for value in pixel]
    values = [min(value * scale[0], 255) for value in values]
    h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in values))
    rgb = colorsys.hsv_to_rgb((h + hue / 180) % 1, min(s * saturation, 1), v)
    return [min(value * 255 * scale[1], 255) for value in rgb]


def colour_sheet():
    """Random colours, and all mixtures of a few levels: greys, ties, black, white, pure hues."""
    levels = list(product((0, 1, 64, 128, 254, 255), repeat=3))
    random = np.random.default_rng(0).integers(0, 256, (400 - len(levels), 3))
    return np.concatenate([np.array(levels), random]).astype(np.uint8).reshape(20, 20, 3)


CASES = [
    {"brightness": 31.5},
    {"brightness": -20.25},
    {"contrast": 1.4},
    {"contrast": 0.5, "contrast_first": True},
    {"saturation": 1.5},
    {"saturation": 0.5},
    {"hue": 17.9},
    {"hue": -18.0},
    {"brightness": 10.0, "contrast": 1.5, "saturation": 1.3, "hue": -7.0, "contrast_first": True},
    {"brightness": 10.0, "contrast": 1.5, "saturation": 1.3, "hue": -7.0, "contrast_first": False},
]


@pytest.mark.parametrize("steps", CASES)
def test_colours_equal_a_naive_loop_over_pixels(steps):
    sheet = colour_sheet()
    expected = [naive(pixel, **{**OFF, **steps}) for pixel in sheet.reshape(-1, 3).tolist()]
    np.testing.assert_allclose(changed(sheet, **steps).reshape(-1, 3), expected, atol=2e-3)


@pytest.mark.parametrize(("saturation", "hue"), [(1.0, 12.0), (0.6, 0.0), (1.4, -15.0)])
def test_saturation_and_hue_equal_opencv_in_float(saturation, hue):
    sheet = colour_sheet()
    hsv = cv2.cvtColor(sheet.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)  # H in degrees
    hsv[..., 0] = (hsv[..., 0] + 2 * hue) % 360
    hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    np.testing.assert_allclose(changed(sheet, saturation=saturation, hue=hue), expected, atol=0.02)


def test_nothing_changes_when_all_is_off():
    sheet = colour_sheet()
    assert np.array_equal(changed(sheet), sheet)
    assert np.array_equal(changed(sheet, contrast_first=True), sheet)


def test_the_order_of_contrast_matters_where_it_clamps():
    steps = {"contrast": 1.5, "saturation": 0.5}
    first, last = (changed(colour_sheet(), **steps, contrast_first=each) for each in (True, False))
    assert np.abs(first - last).max() > 10
