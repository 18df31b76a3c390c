import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from ssd.augment.batch import Preprocess
from ssd.augment.colours import change_colours
from ssd.augment.counter import uniforms
from ssd.augment.crop import CROP_DRAWS, draw_crop
from ssd.augment.mix import MIX_DRAWS, MixedPlan, draw_mixed_plan
from ssd.augment.pixels import apply_plan
from ssd.augment.plan import DRAWS, draw_plan
from ssd.common.sides import both
from ssd.config import AugmentConfig
from ssd.structures import to_device

MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
BOTH = AugmentConfig(mosaic_probability=0.6, mixup_probability=0.5)
MOSAIC = AugmentConfig(mosaic_probability=1)
CELLS = [(-1, -1), (0, -1), (-1, 0), (0, 0)]
SEED = 3


@pytest.fixture
def batch(pack):
    """Twelve images of any size, one of a single pixel, with up to three objects each."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (9, 60), *map(tuple, rng.integers(8, 40, (10, 2)))]
    images, boxes = [], []
    for index, (height, width) in enumerate(sizes):
        images.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        corners = np.sort(rng.uniform(0, 1, (index % 4, 2, 2)), 1).reshape(-1, 4)
        boxes.append(corners * (width, height, width, height))
    return pack(images, boxes, keys=rng.integers(0, 2**32, len(sizes)).tolist(), epoch=2)


def image_of(samples, index):
    (height, width), start = samples.sizes[index].tolist(), samples.offsets[index]
    return samples.pixels[start : start + height * width * 3].view(height, width, 3).numpy()


def naive_partner(draw, own, count):
    return (own + 1 + int(draw * np.float32(count - 1))) % count


def naive_mosaic(samples, index, partners, point, crop, config):
    """The window of the mosaic in the image's pixels, and in those of all four images."""
    height, width = samples.sizes[index].tolist()
    own = [width, height]
    corner = [-math.floor((np.float32(0.5) + point[i]) * np.float32(own[i])) for i in (0, 1)]
    canvas = [*corner, corner[0] + 2 * width, corner[1] + 2 * height]
    boxes, labels = [], []
    for partner, cell in zip([*partners, index], CELLS, strict=True):
        size = samples.sizes[partner].flip(0).tolist()
        for box, label in zip(
            samples.boxes[partner].tolist(), samples.labels[partner], strict=True
        ):
            boxes.append(
                [box[i] * own[i % 2] / size[i % 2] + cell[i % 2] * own[i % 2] for i in range(4)]
            )
            labels.append(label)
    window = torch.tensor([canvas], dtype=torch.float32)
    if config.crop:
        objects = torch.tensor([boxes]), torch.tensor([labels])
        _, window = draw_crop(window, *objects, torch.from_numpy(crop)[None], config.crop_min_scale)
    window = window[0].long().tolist()
    seen = []
    for partner, cell in zip([*partners, index], CELLS, strict=True):
        size, sides = samples.sizes[partner].flip(0).tolist(), []
        for i, side in enumerate(window):
            exact = (side - cell[i % 2] * own[i % 2]) * size[i % 2]
            rounded = math.ceil if cell[i % 2] < 0 else math.floor
            sides.append(rounded(exact / own[i % 2]))
        seen.append([*sides[:2], max(sides[2], sides[0] + 1), max(sides[3], sides[1] + 1)])
    return window, seen


def naive_views(samples, config):
    """For each image, what it shows: [(image, window, flip, weight)]."""
    plain, count = draw_plan(samples, SEED, config), len(samples.keys)
    draws = uniforms(samples.keys, samples.epochs, SEED, sum(DRAWS) + sum(MIX_DRAWS)).numpy()
    for index, own in enumerate(draws):
        mosaic, point, mixup, partners = np.split(own[sum(DRAWS) :], np.cumsum(MIX_DRAWS)[:-1])
        partners = [naive_partner(draw, index, count) for draw in partners]
        flip, views = bool(plain.flip[index]), [(index, plain.windows[index].tolist())]
        if mosaic < np.float32(config.mosaic_probability):
            crop = own[sum(DRAWS) - CROP_DRAWS : sum(DRAWS)]
            _, seen = naive_mosaic(samples, index, partners[:3], point, crop, config)
            views = list(zip([*partners[:3], index], seen, strict=True))
        weight = 0.5 if mixup < np.float32(config.mixup_probability) else 1.0
        views = [(*view, flip, weight) for view in views]
        if weight < 1:
            other = partners[3]
            views.append((other, plain.windows[other].tolist(), bool(plain.flip[other]), 0.5))
        yield views


def shown(plan, index):
    rows = plan.sources, plan.view_windows, plan.view_flips, plan.weights
    return [view for view in zip(*(row[index].tolist() for row in rows), strict=True) if view[3]]


def naive_objects(samples, views):
    """The objects of all views as (label, box) by the rule of the crop: their centre is inside."""
    kept = []
    for source, window, flip, _ in views:
        width, height = window[2] - window[0], window[3] - window[1]
        for label, box in zip(samples.labels[source], samples.boxes[source].tolist(), strict=True):
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            if not label or not (window[0] <= x <= window[2] and window[1] <= y <= window[3]):
                continue
            x1, x2 = (min(max((side - window[0]) / width, 0), 1) for side in (box[0], box[2]))
            y1, y2 = (min(max((side - window[1]) / height, 0), 1) for side in (box[1], box[3]))
            kept.append((int(label), (1 - x2, y1, 1 - x1, y2) if flip else (x1, y1, x2, y2)))
    return kept


def naive_axis(start, end, side, size, antialias):
    """For each output pixel of an axis: the weights of the image's pixels, and of what it lacks."""
    scale = (end - start) / size
    reach = max(scale, 1) if antialias else 1
    for output in range(size):
        centre = start + (output + 0.5) * scale - 0.5
        weights = {
            place: 1 - abs(place - centre) / reach
            for place in range(start, end)
            if abs(place - centre) < reach
        }
        whole = sum(weights.values())
        inside = {place: w / whole for place, w in weights.items() if 0 <= place < side}
        yield inside, 1 - sum(inside.values())


def naive_image(samples, plan, views, size, antialias):
    """The image [S, S, 3] of 0 … 255, pixel by pixel and view by view."""
    out = np.tile(np.array(MEAN), (size, size, 1))
    for source, window, flip, weight in views:
        image = image_of(samples, source).astype(np.float32)
        names = "brightness", "contrast", "saturation", "hue", "contrast_first"
        change_colours(
            torch.from_numpy(image), *(getattr(plan, name)[source].item() for name in names)
        )
        rows = list(naive_axis(window[1], window[3], len(image), size, antialias))
        columns = list(naive_axis(window[0], window[2], image.shape[1], size, antialias))
        for y, (row, no_row) in enumerate(rows):
            for x, (column, no_column) in enumerate(columns):
                colour = np.array(MEAN) * (1 - (1 - no_row) * (1 - no_column))
                for i, row_weight in row.items():
                    for j, column_weight in column.items():
                        colour += row_weight * column_weight * image[i, j]
                out[y, size - 1 - x if flip else x] += weight * (colour - MEAN)
    return out


def test_a_mixed_plan_equals_a_naive_loop_over_the_same_random_numbers(batch):
    plan, kinds = draw_mixed_plan(batch, SEED, BOTH), set()
    for index, expected in enumerate(naive_views(batch, BOTH)):
        assert shown(plan, index) == expected
        objects = [
            (label, box)
            for label, box in zip(plan.labels[index].tolist(), plan.boxes[index], strict=True)
            if label
        ]
        wanted = naive_objects(batch, expected)
        assert [label for label, _ in objects] == [label for label, _ in wanted]
        for (_, box), (_, other) in zip(objects, wanted, strict=True):
            np.testing.assert_allclose(box, other, atol=1e-6)
        kinds.add(len(expected))
    assert kinds == {1, 2, 4, 5}


@pytest.mark.parametrize("antialias", [True, False])
def test_mixed_images_equal_a_naive_loop_over_their_pixels(batch, antialias):
    plan, size = draw_mixed_plan(batch, SEED, BOTH), 10
    out = apply_plan(batch, plan, size, MEAN, STD, antialias).permute(0, 2, 3, 1)
    levels = (out * torch.tensor(STD) + torch.tensor(MEAN)).numpy()
    for index, views in enumerate(naive_views(batch, BOTH)):
        expected = naive_image(batch, plan, views, size, antialias)
        np.testing.assert_allclose(levels[index], expected, atol=1e-2)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [17, 90, (24, 61)])
def test_a_mosaic_is_four_images_pasted_on_a_canvas(pack, antialias, size):
    """Its window is cut from the canvas and resized by torch: nothing shows where views meet."""
    rng, (height, width) = np.random.default_rng(1), (24, 31)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(20)]
    samples = pack(images, [[(3, 4, 20, 20)]] * 20)
    config = replace(MOSAIC, photometric=False)
    plan = draw_mixed_plan(samples, SEED, config)
    out = apply_plan(samples, plan, size, MEAN, STD, antialias).permute(0, 2, 3, 1)
    levels = (out * torch.tensor(STD) + torch.tensor(MEAN)).numpy()
    for index, sources in enumerate(plan.sources.tolist()):
        canvas = np.tile(np.array(MEAN), (4 * height, 4 * width, 1))
        for source, (x, y) in zip(sources, CELLS, strict=True):
            top, left = (y + 2) * height, (x + 2) * width
            canvas[top : top + height, left : left + width] = images[source]
        x1, y1, x2, y2 = plan.windows[index].tolist()
        cut = canvas[y1 + 2 * height : y2 + 2 * height, x1 + 2 * width : x2 + 2 * width]
        cut = torch.from_numpy(cut).permute(2, 0, 1)[None]
        expected = interpolate(cut, both(size), mode="bilinear", antialias=antialias)[0]
        expected = expected.flip(2) if plan.flip[index] else expected
        np.testing.assert_allclose(levels[index], expected.permute(1, 2, 0), atol=1e-3)


def test_boxes_stay_on_their_objects(pack):
    """A white object in one of eight black images: where a mosaic is white is where its box is."""
    rng, size, seen = np.random.default_rng(4), 100, 0
    sizes = [(133, 210), *map(tuple, rng.integers(60, 400, (7, 2)))]
    images = [np.zeros((*each, 3), np.uint8) for each in sizes]
    images[0][40:90, 30:150] = 255
    samples = pack(images, [[(30, 40, 150, 90)], *[[]] * 7])
    config = replace(MOSAIC, photometric=False)
    for seed in range(40):
        plan = draw_mixed_plan(samples, seed, config)
        out = apply_plan(samples, plan, size, (0.0,) * 3, (1.0,) * 3, antialias=True)
        for index, sources in enumerate(plan.sources.tolist()):
            box = (plan.boxes[index, 0] * size).numpy()
            if sources.count(0) != 1 or min(box[2:] - box[:2]) < 3:
                continue
            rows, columns = np.nonzero(out[index, 0].numpy() > 127)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(found, box, atol=1.0)
            seen += 1
    assert seen > 50


def test_partners_are_others_and_the_meeting_point_lies_inside_the_canvas(pack):
    count = 2000
    samples = pack([np.zeros((40, 50, 3), np.uint8)] * count, [[]] * count)
    config = replace(BOTH, mosaic_probability=0.3, crop=False)
    plan = draw_mixed_plan(samples, SEED, config)
    own = torch.arange(count)
    apart = (plan.sources - own[:, None]) % count
    assert (apart[:, 3] == 0).all()
    others = apart[:, [0, 1, 2, 4]].double()
    assert others.min() >= 1
    assert (others.mean(0) / count - 0.5).abs().max() < 4 * 0.29 / math.sqrt(count)
    is_mosaic = plan.weights[:, 0] > 0
    assert abs(is_mosaic.double().mean() - 0.3) < 4 * math.sqrt(0.21 / count)
    is_mixup = plan.weights[:, 4] > 0
    assert abs(is_mixup.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(count)
    x1, y1, x2, y2 = plan.windows[is_mosaic].T
    assert (x2 - x1 == 100).all()
    assert (y2 - y1 == 80).all()
    assert {x1.min().item(), x1.max().item()} == {-74, -25}  # the images meet at 0
    assert {y1.min().item(), y1.max().item()} == {-59, -20}


def equal_plans(mixed, plain):
    """Equal in all but padding."""
    most = min(mixed.labels.shape[1], plain.labels.shape[1])
    same = all(
        torch.equal(getattr(mixed, field.name), getattr(plain, field.name))
        for field in fields(plain)
        if field.name not in ("boxes", "labels")
    )
    objects = [
        [(int(label), box.tolist()) for label, box in zip(labels, boxes, strict=True) if label]
        for plan in (mixed, plain)
        for labels, boxes in zip(plan.labels, plan.boxes, strict=True)
    ]
    return same and most > 0 and objects[: len(mixed.labels)] == objects[len(mixed.labels) :]


def test_images_without_partners_are_as_without_mosaic_and_mixup(batch):
    mixed, plain = draw_mixed_plan(batch, SEED, BOTH), draw_plan(batch, SEED, AugmentConfig())
    settings = 12, MEAN, STD, True
    images = [apply_plan(batch, plan, *settings) for plan in (mixed, plain)]
    alone = torch.tensor([len(shown(mixed, index)) == 1 for index in range(len(batch.keys))])
    assert 0 < alone.sum() < len(alone)
    for index, is_alone in enumerate(alone):
        assert torch.equal(images[0][index], images[1][index]) == is_alone
    for name in ("flip", "brightness", "contrast", "saturation", "hue", "contrast_first"):
        assert torch.equal(getattr(mixed, name), getattr(plain, name))


def test_the_closing_epochs_are_those_of_a_run_with_whole_images(batch):
    plain = draw_plan(batch, SEED, AugmentConfig(crop=False, expand_probability=0))
    for closing, is_closed in ((None, False), (3, False), (2, True), (0, True)):
        mixed = draw_mixed_plan(batch, SEED, BOTH, closing)  # the images are of epoch 2
        assert equal_plans(mixed, plain) == is_closed
    one, other = (draw_mixed_plan(batch, SEED, BOTH, closing) for closing in (None, 3))
    for field in fields(MixedPlan):
        assert torch.equal(getattr(one, field.name), getattr(other, field.name))


def test_off_or_alone_a_batch_is_as_ever(batch, pack):
    preprocess = Preprocess(12, MEAN, STD, antialias=True)
    one = pack([image_of(batch, 5)], [[(1, 2, 6, 7)]])
    for samples, config in (
        (batch, replace(BOTH, mosaic_probability=0, mixup_probability=0)),
        (one, BOTH),
    ):
        found = preprocess.training_batch(samples, SEED, config)
        plan = draw_plan(samples, SEED, AugmentConfig())
        assert torch.equal(found.images, apply_plan(samples, plan, 12, MEAN, STD, antialias=True))
        assert torch.equal(found.boxes, plan.boxes)
        assert torch.equal(found.labels, plan.labels)


def test_only_the_views_that_are_asked_for_are_planned(batch):
    both = draw_mixed_plan(batch, SEED, BOTH)
    for change, views in (
        ({"mixup_probability": 0}, [0, 1, 2, 3]),
        ({"mosaic_probability": 0}, [3, 4]),
    ):
        part = draw_mixed_plan(batch, SEED, replace(BOTH, **change))
        assert torch.equal(part.sources, both.sources[:, views])


def test_half_precision_is_rounded_once(batch):
    plan, settings = draw_mixed_plan(batch, SEED, BOTH), (12, MEAN, STD, True, False)
    full, half = (
        apply_plan(batch, plan, *settings, dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert torch.equal(half, full.bfloat16())


def test_a_mixed_plan_is_drawn_without_reading_a_value(batch):
    """On the meta device tensors have no values: anything that needs one raises."""
    plan = draw_mixed_plan(to_device(batch, torch.device("meta")), 0, BOTH, closing_epoch=3)
    assert plan.boxes.shape == (12, 5 * 3, 4)
    assert all(getattr(plan, field.name).is_meta for field in fields(MixedPlan))
