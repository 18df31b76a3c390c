"""Boxes around outlines: masks of any pixels, by pycocotools' own text, and what is no mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

from ssd.data.coco_outlines import around_mask, around_polygons


def runs_of(pixels):
    """COCO's runs, counted pixel by pixel down the columns; the first is of zeros."""
    runs, last = [0], 0
    for pixel in pixels.T.ravel().tolist():
        if pixel != last:
            runs.append(0)
            last = pixel
        runs[-1] += 1
    return runs


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_a_mask_has_the_box_of_its_pixels(seed, height, width, share):
    generator = np.random.default_rng(seed)
    pixels = (generator.random((height, width)) < share**4).astype(np.uint8)
    coded = mask.encode(np.asfortranarray(pixels))
    y, x = np.nonzero(pixels)
    box = [0, 0, 0, 0]
    if len(x):
        box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
    for counts in (runs_of(pixels), coded["counts"].decode()):
        assert around_mask({"size": [height, width], "counts": counts}) == box
    assert mask.toBbox(coded).tolist() == box


def test_long_runs_come_back_from_their_text():
    pixels = np.zeros((3000, 2000), np.uint8)
    pixels[100:2900, 7:1999] = 1
    pixels[150:160, 3] = 1
    counts = mask.encode(np.asfortranarray(pixels))["counts"].decode()
    box = [3, 100, 1996, 2800]
    assert around_mask({"size": [3000, 2000], "counts": counts}) == box


@given(st.text(st.characters(max_codepoint=127), max_size=30), st.integers(1, 50))
def test_any_text_is_read_or_told(counts, height):
    """pycocotools ends the process at some of them."""
    try:
        x, y, width, box_height = around_mask({"size": [height, 3], "counts": counts})
    except ValueError:
        return
    assert 0 <= x <= x + width <= 3
    assert 0 <= y <= y + box_height <= height


@pytest.mark.parametrize(
    "outline",
    [
        [[1, 5, 4, 2], [3, 9, 2, 2]],
        [1, 5, 4, 2, 3, 9],
        [[1, 5], [4, 2], [3, 9]],
        [["1", "5.0", "4", "2"], [], [3, 9]],
    ],
)
def test_polygons_have_the_box_of_all_points(outline):
    assert around_polygons(outline) == [1, 2, 3, 7]
