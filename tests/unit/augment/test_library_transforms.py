"""The shipped Albumentations chain against the plan and the colours of the device."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssd.augment.colours import change_colours
from ssd.augment.library import LibraryTransform
from ssd.augment.library_file import read_pipeline
from ssd.augment.plan import COLOUR_PROBABILITY, FACTORS, MAX_BRIGHTNESS, MAX_HUE, draw_plan
from ssd.config import AugmentConfig, ModelConfig
from ssd.config.recipes import ALBUMENTATIONS
from ssd.structures import Sample

HEIGHT, WIDTH = 90, 120
BOXES = np.array([[10, 20, 40, 80], [50, 5, 115, 45], [60, 60, 70, 68]], np.float32)
COLOURED = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
FILL = (255, 254, 253)  # no pixel has it
BEYOND = 10_000
EXPAND = "{__class_fullname__: SSDExpand, p: 0.5, fill: [255, 254, 253]}"
CROP = "{__class_fullname__: SSDCrop, p: 1.0}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Many samples of an image whose pixels tell where they were, through some transforms."""
    rows, columns = np.indices((HEIGHT, WIDTH), dtype=np.uint8)
    image = np.stack([rows, columns, np.zeros_like(rows)], -1)
    sample = Sample("a", 0, 0, image, BOXES, np.array([1, 2, 3]))

    def run_all(count, *transforms):
        path = tmp_path_factory.mktemp("library") / "mine.yaml"
        listed = ", ".join(transforms)
        path.write_text(f"transform: {{__class_fullname__: Compose, transforms: [{listed}]}}")
        transform = LibraryTransform(path, 3)
        return [transform(replace(sample, key=key)) for key in range(count)]

    return run_all


def windows(samples):
    """The windows [N, 4] that the samples show; beyond everything where no pixel is the image's."""
    found = []
    for sample in samples:
        ys, xs = np.nonzero((sample.pixels != FILL).any(-1))
        if len(ys) == 0:
            found.append((BEYOND, BEYOND, *(BEYOND + np.array(sample.pixels.shape[1::-1]))))
            continue
        left = int(sample.pixels[ys[0], xs[0], 1]) - xs[0]
        top = int(sample.pixels[ys[0], xs[0], 0]) - ys[0]
        height, width = sample.pixels.shape[:2]
        found.append((left, top, left + width, top + height))
    return np.array(found)


def seen(window):
    """The boxes [K, 4] and labels [K] of the objects whose centre the window holds, one by one."""
    x1, y1, x2, y2 = window
    boxes, labels = [], []
    for label, (left, top, right, bottom) in enumerate(BOXES.tolist(), 1):
        if x1 <= (left + right) / 2 <= x2 and y1 <= (top + bottom) / 2 <= y2:
            corners = max(left, x1), max(top, y1), min(right, x2), min(bottom, y2)
            boxes.append([corners[0] - x1, corners[1] - y1, corners[2] - x1, corners[3] - y1])
            labels.append(label)
    return np.reshape(boxes, (-1, 4)), labels


def best_overlaps(windows_N4):
    """The largest IoU [N] of each window with an object."""
    best = []
    for x1, y1, x2, y2 in windows_N4:
        ious = []
        for left, top, right, bottom in BOXES.tolist():
            inter = max(0, min(x2, right) - max(x1, left)) * max(0, min(y2, bottom) - max(y1, top))
            union = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top) - inter
            ious.append(inter / union)
        best.append(max(ious))
    return np.array(best)


@pytest.mark.parametrize("transforms", [(EXPAND,), (CROP,), (EXPAND, CROP)])
def test_pixels_and_boxes_are_those_of_one_window(run, transforms):
    samples = run(150, *transforms)
    for sample, (x1, y1, x2, y2) in zip(samples, windows(samples), strict=True):
        rows, columns = np.mgrid[y1:y2, x1:x2]
        inside = (rows >= 0) & (rows < HEIGHT) & (columns >= 0) & (columns < WIDTH)
        expected = np.stack([rows, columns, 0 * rows], -1)
        expected = np.where(inside[..., None], expected, FILL)
        assert np.array_equal(sample.pixels, expected)
        boxes, labels = seen((x1, y1, x2, y2))
        np.testing.assert_allclose(sample.boxes, boxes, atol=1e-3)
        assert sample.labels.tolist() == labels


@pytest.mark.parametrize("min_scale", [0.3, 0.6])
def test_crops_keep_to_their_limits(run, min_scale):
    crop = f"{{__class_fullname__: SSDCrop, p: 1.0, min_scale: {min_scale}}}"
    windows_N4 = windows(run(400, crop))
    sizes_N2 = windows_N4[:, 2:] - windows_N4[:, :2]
    assert (windows_N4[:, :2] >= 0).all()
    assert (windows_N4[:, 2:] <= (WIDTH, HEIGHT)).all()
    scales_N = np.sqrt(sizes_N2.prod(1) / (WIDTH * HEIGHT))
    rounding = 1 / sizes_N2.min()  # to whole pixels
    assert min_scale - rounding <= scales_N.min() < min_scale + 0.05
    ratio_N = (sizes_N2[:, 0] / WIDTH) / (sizes_N2[:, 1] / HEIGHT)
    assert (ratio_N >= 0.5 - rounding).all()
    assert (ratio_N <= 2 + 2 * rounding).all()


def test_windows_are_distributed_as_those_of_the_device(run, pack):
    """Means and tails of sizes, places and overlaps, within four standard errors."""
    count = 600
    images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * (8 * count)
    config = AugmentConfig(expand_probability=0.5, expand_max=4, crop=True)
    plan = draw_plan(pack(images, [BOXES] * len(images)), 4, config)

    def figures(windows_N4):
        sizes_N2 = windows_N4[:, 2:] - windows_N4[:, :2]
        areas_N, sides_N = sizes_N2.prod(1) / (WIDTH * HEIGHT), sizes_N2[:, 0] / sizes_N2[:, 1]
        best_N = best_overlaps(windows_N4)
        tails = [best_N >= overlap for overlap in (0.1, 0.3, 0.5, 0.7, 0.9)]
        whole_N = (windows_N4 == (0, 0, WIDTH, HEIGHT)).all(1)
        empty_N = (windows_N4[:, :2] >= (WIDTH, HEIGHT)).any(1) | (windows_N4[:, 2:] <= 0).any(1)
        corners_N2 = np.where(empty_N[:, None], 0, windows_N4[:, :2] / (WIDTH, HEIGHT))
        columns = [areas_N, np.log(areas_N), np.log(sides_N), areas_N > 1, best_N, *tails]
        return np.stack([*columns, whole_N, empty_N, *corners_N2.T], 1).astype(float)

    ours, theirs = figures(windows(run(count, EXPAND, CROP))), figures(plan.windows.numpy())
    error = np.sqrt(ours.var(0) / len(ours) + theirs.var(0) / len(theirs))
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 4 * error).all()
    assert (error < 0.15).all()  # else anything would do


def test_an_image_without_objects_stays_whole(run):
    """Caffe crops only to windows that overlap an object."""
    nothing = "{__class_fullname__: Crop, p: 1.0, x_max: 9, y_max: 9}"
    shapes = {sample.pixels.shape for sample in run(20, nothing, CROP)}
    assert shapes == {(9, 9, 3)}


def colours(tmp_path, transform):
    """A coloured image through a transform, [H, W, 3] as float."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"transform: {{__class_fullname__: Compose, transforms: [{transform}]}}")
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return LibraryTransform(path, 0)(Sample("a", 0, 0, COLOURED, *none)).pixels.astype(float)


@pytest.mark.parametrize(
    ("transform", "change", "largest"),
    [
        (
            "{__class_fullname__: RandomBrightnessContrast, p: 1.0, brightness_by_max: true, "
            "brightness_limit: [0.12549, 0.12549], contrast_limit: [0.0, 0.0]}",
            (32, 1, 1, 0),
            1,  # cut off to 8 bits, not rounded
        ),
        (
            "{__class_fullname__: RandomBrightnessContrast, p: 1.0, "
            "brightness_limit: [0.0, 0.0], contrast_limit: [-0.4, -0.4]}",
            (0, 0.6, 1, 0),
            1,
        ),
        (
            "{__class_fullname__: HueSaturationValue, p: 1.0, hue_shift_limit: [18, 18], "
            "sat_shift_limit: [0, 0], val_shift_limit: [0, 0]}",
            (0, 1, 1, 18),
            6,  # OpenCV's 8-bit hue is one of 180
        ),
    ],
)
def test_the_colours_of_the_shipped_chain_are_those_of_the_device(
    tmp_path, transform, change, largest
):
    expected_HW3 = torch.from_numpy(COLOURED).float()
    change_colours(expected_HW3, *change, True)
    difference = np.abs(colours(tmp_path, transform) - expected_HW3.numpy())
    assert difference.max() <= largest
    assert np.abs(colours(tmp_path, transform) - COLOURED).max() > 20


def test_the_shipped_chain_has_the_limits_of_the_device():
    brightness, orders, expand, crop, flip = read_pipeline(ALBUMENTATIONS).transforms
    most = MAX_BRIGHTNESS / 255
    assert brightness.brightness_limit == pytest.approx((-most, most), abs=1e-6)
    for order in orders.transforms:
        steps = {type(step).__name__: step for step in order.transforms}
        assert steps["RandomBrightnessContrast"].contrast_limit == (-0.5, 0.5)
        assert steps["ColorJitter"].saturation == FACTORS
        assert steps["HueSaturationValue"].hue_shift_limit == (-MAX_HUE, MAX_HUE)
        assert {step.p for step in order.transforms} == {COLOUR_PROBABILITY}
    first = [type(order.transforms[0]).__name__ for order in orders.transforms]
    assert first == ["RandomBrightnessContrast", "ColorJitter"]
    config = AugmentConfig()
    assert (expand.p, expand.expand_max) == (config.expand_probability, config.expand_max)
    assert (crop.p, crop.min_scale) == (1, config.crop_min_scale)
    assert flip.p == config.flip_probability
    np.testing.assert_allclose(expand.fill, ModelConfig().pixel_mean, atol=0.5)
