from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from ssd.augment.colours import change_colours
from ssd.augment.pixels import apply_plan
from ssd.augment.plan import draw_plan, identity_plan
from ssd.common.sides import both
from ssd.config import AugmentConfig
from ssd.data.dataset import pack
from ssd.structures import Sample

MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
SIZES = [(1, 1), (3, 7), (5, 400), (37, 53), (60, 60), (199, 131), (333, 500)]  # height, width


def random_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def windowed(samples, *windows):
    """The plan that resizes the given windows of the images."""
    return replace(identity_plan(samples), windows=torch.tensor(windows))


def resized(image_HW3, size, antialias):
    """The oracle: torch's own bilinear resize, in float64; [size, size, 3], or of two sides."""
    image = torch.as_tensor(image_HW3, dtype=torch.float64).permute(2, 0, 1)[None]
    small = interpolate(image, both(size), mode="bilinear", antialias=antialias)
    return small[0].permute(1, 2, 0).numpy()


def grey_levels(images_B3SS):
    """Normalised images as [B, S, S, 3] of 0 … 255."""
    return (images_B3SS.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)).numpy()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [1, 31, 60, 150, (24, 90), (81, 7)])
def test_a_plain_resize_equals_torch(pack, size, antialias):
    images = [random_image(*each) for each in SIZES]
    samples = pack(images, [[]] * len(images))
    out = apply_plan(samples, identity_plan(samples), size, MEAN, STD, antialias)
    for image, found in zip(images, grey_levels(out), strict=True):
        np.testing.assert_allclose(found, resized(image, size, antialias), atol=1e-3)


@pytest.mark.parametrize("size", [31, 150])
def test_a_plain_resize_without_antialiasing_equals_opencv(pack, size):
    images = [random_image(*each) for each in SIZES]
    samples = pack(images, [[]] * len(images))
    out = apply_plan(samples, identity_plan(samples), size, MEAN, STD, antialias=False)
    for image, found in zip(images, grey_levels(out), strict=True):
        expected = cv2.resize(image.astype(np.float32), (size, size))
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_output_is_float32_and_channels_last(pack):
    samples = pack([random_image(20, 30)], [[]])
    before = samples.pixels.clone()
    plan = replace(identity_plan(samples), brightness=torch.tensor([9.0]))
    out = apply_plan(samples, plan, 12, MEAN, STD, antialias=True)
    assert out.shape == (1, 3, 12, 12)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(samples.pixels, before)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [17, 90, (17, 90), (90, 40)])
def test_a_window_equals_cropping_first(pack, size, antialias):
    image = random_image(70, 110)
    windows = [(0, 0, 110, 70), (13, 9, 97, 41), (109, 69, 110, 70), (30, 0, 31, 70)]
    samples = pack([image] * len(windows), [[]] * len(windows))
    out = apply_plan(samples, windowed(samples, *windows), size, MEAN, STD, antialias)
    for (x1, y1, x2, y2), found in zip(windows, grey_levels(out), strict=True):
        expected = resized(image[y1:y2, x1:x2], size, antialias)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "window", [(-40, -30, 160, 100), (-5, 10, 40, 200), (60, 20, 90, 71), (-3, -3, -1, 9)]
)
def test_beyond_the_image_lies_the_mean(pack, window, antialias):
    image, (x1, y1, x2, y2) = random_image(70, 110), window
    samples = pack([image], [[]])
    out = apply_plan(samples, windowed(samples, window), 60, MEAN, STD, antialias)
    canvas = np.broadcast_to(np.array(MEAN), (300, 400, 3)).copy()
    canvas[100:170, 100:210] = image
    expected = resized(canvas[100 + y1 : 100 + y2, 100 + x1 : 100 + x2], 60, antialias)
    np.testing.assert_allclose(grey_levels(out)[0], expected, atol=1e-3)


def test_the_fill_is_exactly_zero(pack):
    samples = pack([random_image(50, 50), random_image(50, 50)], [[]] * 2)
    plan = windowed(samples, (-50, -100, 150, 100), (200, 200, 260, 230))
    out = apply_plan(samples, plan, 40, MEAN, STD, antialias=True)
    inside = torch.zeros(40, 40, dtype=torch.bool)
    inside[20:30, 10:20] = True
    touched = (out[0] != 0).any(0)
    assert touched[inside].all()
    border = torch.zeros(40, 40, dtype=torch.bool)
    border[19:31, 9:21] = True  # antialiasing blends one pixel
    assert not touched[~border].any()
    assert not out[1].any()  # a window beside the image


def test_a_flip_mirrors_exactly(pack):
    samples = pack([random_image(50, 70)], [[]])
    plan = windowed(samples, (-10, 5, 64, 40))
    straight = apply_plan(samples, plan, 33, MEAN, STD, antialias=True)
    flipped = replace(plan, flip=torch.tensor([True]))
    mirrored = apply_plan(samples, flipped, 33, MEAN, STD, antialias=True)
    assert torch.equal(mirrored, straight.flip(3))


def test_colours_change_before_the_resize_each_image_its_own(pack):
    images = [random_image(40, 40, seed) for seed in range(3)]
    samples = pack(images, [[]] * 3)
    plan = replace(
        identity_plan(samples),
        brightness=torch.tensor([0.0, 30.0, 0.0]),
        contrast=torch.tensor([1.0, 1.0, 1.5]),
    )
    out = grey_levels(apply_plan(samples, plan, 10, MEAN, STD, antialias=True))
    distorted = [
        images[0].astype(float),
        np.minimum(images[1] + 30.0, 255),
        np.minimum(images[2] * 1.5, 255),
    ]
    for found, image in zip(out, distorted, strict=True):
        np.testing.assert_allclose(found, resized(image, 10, True), atol=1e-3)


STEPS = {"brightness": 30.0, "contrast": 1.5, "saturation": 1.4, "hue": -9.0}


def with_colours(plan):
    return replace(plan, **{name: torch.tensor([value]) for name, value in STEPS.items()})


@pytest.mark.parametrize("antialias", [True, False])
def test_colours_may_change_after_the_resize(pack, antialias):
    samples = pack([random_image(50, 40)], [[]])
    plan = with_colours(identity_plan(samples))
    out = apply_plan(samples, plan, 21, MEAN, STD, antialias, colours_last=True)
    expected_SS3 = torch.tensor(resized(random_image(50, 40), 21, antialias)).float().contiguous()
    change_colours(expected_SS3, **STEPS, contrast_first=False)
    np.testing.assert_allclose(grey_levels(out)[0], expected_SS3, atol=1e-3)
    before = apply_plan(samples, plan, 21, MEAN, STD, antialias)
    assert (before - out).abs().max() > 0.05  # where they clamp, they differ


@pytest.mark.parametrize("antialias", [True, False])
def test_colours_after_the_resize_leave_the_fill_alone(pack, antialias):
    """An image of one colour is the same both ways, also where its border blends with the fill."""
    image = np.broadcast_to(np.array([200, 30, 90], np.uint8), (43, 37, 3)).copy()
    samples = pack([image], [[]])
    plan = with_colours(windowed(samples, (-30, -21, 91, 50)))
    settings = 31, MEAN, STD, antialias
    first = apply_plan(samples, plan, *settings)
    last = apply_plan(samples, plan, *settings, colours_last=True)
    torch.testing.assert_close(last, first, atol=1e-5, rtol=0)
    assert not last[..., 0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_result_is_rounded_to_the_type_once(pack, dtype):
    samples = pack([random_image(20, 30)], [[]])
    settings = 12, MEAN, STD, True, False
    out = apply_plan(samples, identity_plan(samples), *settings, dtype)
    assert out.dtype == dtype
    assert torch.equal(out, apply_plan(samples, identity_plan(samples), *settings).to(dtype))


def test_an_image_does_not_depend_on_its_batch(pack):
    images = [random_image(40 + 7 * seed, 60 - 3 * seed, seed) for seed in range(4)]
    boxes = [[(5, 5, 30, 30)]] * 4
    samples = pack(images, boxes)
    together = apply_plan(samples, draw_plan(samples, 0, AugmentConfig()), 32, MEAN, STD, True)
    for index, image in enumerate(images):
        alone = pack([image], boxes[:1], keys=[index])
        plan = draw_plan(alone, 0, AugmentConfig())
        assert torch.equal(apply_plan(alone, plan, 32, MEAN, STD, True)[0], together[index])


@st.composite
def white_objects(draw):
    """Width, height and box: an object of at least 20 pixels a side."""
    width, height = draw(st.integers(60, 400)), draw(st.integers(60, 400))
    x1, y1 = draw(st.integers(0, width - 20)), draw(st.integers(0, height - 20))
    x2, y2 = draw(st.integers(x1 + 20, width)), draw(st.integers(y1 + 20, height))
    return width, height, (x1, y1, x2, y2)


@settings(max_examples=200, deadline=None)
@given(white_objects(), st.integers(0, 2**32 - 1), st.booleans())
def test_boxes_stay_on_their_objects(pack, shown, seed, antialias):
    """A white object on black, augmented: where it is white is where the box is."""
    width, height, (x1, y1, x2, y2) = shown
    image, size = np.zeros((height, width, 3), np.uint8), 100
    image[y1:y2, x1:x2] = 255
    samples = pack([image], [[(x1, y1, x2, y2)]])
    plan = draw_plan(samples, seed, AugmentConfig(photometric=False))
    box = (plan.boxes[0, 0] * size).numpy()
    assume(plan.labels[0, 0] > 0 and min(box[2:] - box[:2]) >= 3)

    out = apply_plan(samples, plan, size, (0.0,) * 3, (1.0,) * 3, antialias)

    rows, columns = np.nonzero(out[0, 0].numpy() > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, box, atol=1.0)


def test_an_image_that_no_output_pixel_reaches_leaves_the_mean():
    box, label = np.zeros((1, 4), np.float32), np.ones(1, np.int64)
    image = np.full((1, 1, 3), 255, np.uint8)
    samples = pack([Sample("dot", 0, 0, image, box, label)])

    out = apply_plan(samples, windowed(samples, (0, 0, 40, 40)), 10, MEAN, STD, antialias=False)

    assert torch.equal(out, torch.zeros_like(out))
