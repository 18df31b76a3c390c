from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from ssd.augment.counter import uniforms
from ssd.augment.crop import MIN_OVERLAPS
from ssd.augment.plan import DRAWS, Plan, draw_plan, identity_plan
from ssd.config import AugmentConfig
from ssd.structures import to_device

CONFIG = AugmentConfig()


def naive_iou(window, box):
    width = max(0, min(window[2], box[2]) - max(window[0], box[0]))
    height = max(0, min(window[3], box[3]) - max(window[1], box[1]))
    inter = width * height
    window_area = (window[2] - window[0]) * (window[3] - window[1])
    return inter / (window_area + (box[2] - box[0]) * (box[3] - box[1]) - inter)


def naive_window(size, boxes, draws):
    """Caffe's rules for one image, one trial after another: (window, picked sampler)."""
    expand, pick, trials = draws[9:13], draws[14], draws[15:].reshape(6, 50, 4)
    ratio = 1 + 3 * expand[1] if expand[0] < 0.5 else 1
    canvas = [np.floor(side * ratio) for side in size]
    shift = [np.floor(expand[2 + i] * (canvas[i] - size[i])) for i in range(2)]
    whole = (-shift[0], -shift[1], canvas[0] - shift[0], canvas[1] - shift[1])
    found = [(0, whole)]
    for sampler, wanted in enumerate((0.1, 0.3, 0.5, 0.7, 0.9, 0.0)):
        for draw in trials[sampler]:
            scale = np.float32(0.3) + np.float32(0.7) * draw[0]
            low, high = max(0.5, scale * scale), min(2, 1 / (scale * scale))
            root = np.sqrt(low + (high - low) * draw[1])
            sides = [min(1, scale * root), min(1, scale / root)]
            first = [
                np.floor(draw[2 + i] * (1 - sides[i]) * canvas[i]) - shift[i] for i in range(2)
            ]
            extent = [max(1, np.floor(sides[i] * canvas[i])) for i in range(2)]
            window = (*first, first[0] + extent[0], first[1] + extent[1])
            if any(naive_iou(window, box) >= np.float32(wanted) for box in boxes):
                found.append((sampler + 1, window))
                break
    sampler, window = found[int(pick * len(found))]
    return window, sampler


def naive_colours(draws):
    """Caffe's numbers for one image, by the plan's fields."""

    def maybe(index, low, high, off):
        return low + (high - low) * draws[index + 1] if draws[index] < 0.5 else off

    return {
        "brightness": maybe(0, -32, 32, 0),
        "contrast": maybe(2, 0.5, 1.5, 1),
        "saturation": maybe(4, 0.5, 1.5, 1),
        "hue": maybe(6, -18, 18, 0),
        "contrast_first": draws[8] < 0.5,
    }


def naive_objects(window, boxes, flip):
    """{label: box relative to the window} of the objects whose centre is inside."""
    kept = {}
    width, height = window[2] - window[0], window[3] - window[1]
    for label, box in enumerate(boxes, start=1):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if not (window[0] <= x <= window[2] and window[1] <= y <= window[3]):
            continue
        x1, x2 = (min(max((side - window[0]) / width, 0), 1) for side in (box[0], box[2]))
        y1, y2 = (min(max((side - window[1]) / height, 0), 1) for side in (box[1], box[3]))
        if x1 < x2 and y1 < y2:
            kept[label] = (1 - x2, y1, 1 - x1, y2) if flip else (x1, y1, x2, y2)
    return kept


def random_objects(count, rng):
    """Sizes (width, height) and boxes of images; some without objects, one box degenerate."""
    sizes = [(int(w), int(h)) for w, h in rng.integers(40, 640, (count, 2))]
    boxes = []
    for size in sizes:
        sides = rng.uniform(0.05, 0.95, (rng.integers(0, 4), 2))
        corners = rng.uniform(0, 1, sides.shape) * (1 - sides)
        scale = np.array(size * 2)
        boxes.append((np.concatenate([corners, corners + sides], 1) * scale).astype(np.float32))
    boxes[0] = np.array([[5, 5, 5, 9]], np.float32)
    return sizes, boxes


def blank(sizes):
    return [np.zeros((height, width, 3), np.uint8) for width, height in sizes]


def objects_of(plan: Plan, index: int):
    labels, boxes = plan.labels[index].tolist(), plan.boxes[index].tolist()
    assert all(box == [0, 0, 0, 0] for label, box in zip(labels, boxes, strict=True) if not label)
    return {label: box for label, box in zip(labels, boxes, strict=True) if label}


def test_a_plan_equals_a_naive_loop_over_the_same_random_numbers(pack):
    sizes, boxes = random_objects(120, np.random.default_rng(0))
    sizes[1:4], boxes[1:4] = [(1, 1), (2, 3), (7, 1)], [np.array([[0, 0, 1, 1]], np.float32)] * 3
    for index in range(4, 30):  # objects large enough for an overlap of 0.9
        boxes[index] = np.array([[1, 1, *sizes[index]]], np.float32)
    samples = pack(blank(sizes), boxes, epoch=2)
    plan = draw_plan(samples, 5, CONFIG)
    draws = uniforms(samples.keys, samples.epochs, 5, sum(DRAWS)).numpy()
    picked = set()
    for index, (size, own) in enumerate(zip(sizes, boxes, strict=True)):
        window, sampler = naive_window([np.float32(side) for side in size], own, draws[index])
        assert plan.windows[index].tolist() == list(window)
        assert plan.sampler[index] == sampler
        for name, value in naive_colours(draws[index]).items():
            assert getattr(plan, name)[index] == value
        flip = draws[index, 13] < 0.5
        assert plan.flip[index] == flip
        expected, found = naive_objects(window, own, flip), objects_of(plan, index)
        assert found.keys() == expected.keys()
        for label, box in found.items():
            np.testing.assert_allclose(box, expected[label], atol=1e-6)
        picked.add(sampler)
    assert picked == set(range(7))


def largest_gap(first, second):
    """Kolmogorov-Smirnov: the largest distance between two empirical distributions."""
    both = np.sort(np.concatenate([first, second]))
    below = [np.searchsorted(np.sort(each), both, side="right") for each in (first, second)]
    return np.abs(below[0] / len(first) - below[1] / len(second)).max()


def test_plans_are_distributed_as_in_a_naive_loop_with_other_random_numbers(pack):
    rng, count = np.random.default_rng(1), 1000
    sizes, boxes = random_objects(count, rng)
    samples = pack([np.zeros((1, 1, 3), np.uint8)] * count, boxes)
    samples = replace(samples, sizes=torch.tensor(sizes).flip(1))
    plan = draw_plan(samples, 3, CONFIG)
    rows = []
    for size, own in zip(sizes, boxes, strict=True):
        window, sampler = naive_window(size, own.tolist(), rng.random(sum(DRAWS)))
        rows.append((*window, sampler, len(naive_objects(window, own.tolist(), False))))
    naive = np.array(rows)
    drawn = np.concatenate(
        [plan.windows.numpy(), plan.sampler.numpy()[:, None], (plan.labels > 0).sum(1)[:, None]], 1
    )
    # The chance that a gap of two equal distributions passes this limit is 1 in 10,000.
    limit = 2.23 * np.sqrt(2 / count)
    scale = np.array(sizes)

    sides, other_sides = ((table[:, 2:4] - table[:, :2]) / scale for table in (drawn, naive))
    assert largest_gap(sides.prod(1), other_sides.prod(1)) < limit
    aspect, other_aspect = (each[:, 0] / each[:, 1] for each in (sides, other_sides))
    assert largest_gap(aspect, other_aspect) < limit
    for column in range(2):
        start, other = (table[:, column] / scale[:, column] for table in (drawn, naive))
        assert largest_gap(start, other) < limit
    assert largest_gap(drawn[:, 5], naive[:, 5]) < limit
    for sampler in range(7):
        share, other = (np.mean(table[:, 4] == sampler) for table in (drawn, naive))
        assert abs(share - other) < 4 * np.sqrt(2 * other * (1 - other) / count)


@pytest.fixture(scope="module")
def plan_of_many(many):
    return draw_plan(many, 0, CONFIG)


def uniform_gap(values, low, high):
    """Distance of an empirical distribution from the uniform one between two limits."""
    values = np.sort(values)
    assert low <= values[0]
    assert values[-1] < high
    return np.abs((values - low) / (high - low) - np.arange(len(values)) / len(values)).max()


@pytest.mark.parametrize(
    ("name", "low", "high", "off"),
    [
        ("brightness", -32, 32, 0),
        ("contrast", 0.5, 1.5, 1),
        ("saturation", 0.5, 1.5, 1),
        ("hue", -18, 18, 0),
    ],
)
def test_colours_change_half_of_the_images_uniformly(plan_of_many, name, low, high, off):
    values = getattr(plan_of_many, name).numpy()
    changed = values[values != off]
    assert abs(len(changed) / 2000 - 0.5) < 4 * 0.5 / np.sqrt(2000)
    assert uniform_gap(changed, low, high) < 2.23 / np.sqrt(len(changed))


def test_expansion_ratio_flip_and_colour_order(many):
    plan = draw_plan(many, 0, replace(CONFIG, crop=False))
    widths = (plan.windows[:, 2] - plan.windows[:, 0]).numpy()
    expanded = widths > 400
    for share in (expanded, plan.flip.numpy(), plan.contrast_first.numpy()):
        assert abs(share.mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)
    ratios = widths[expanded] / 400
    assert uniform_gap(ratios, 1, 4) < 2.23 / np.sqrt(len(ratios))
    place = -plan.windows[:, 0].numpy()[expanded] / (widths[expanded] - 400)
    assert np.abs(np.mean(place) - 0.5) < 0.036  # deviation of the mean: 0.29 / sqrt(1,000) = 0.009
    whole = plan.windows[~torch.from_numpy(expanded)]
    assert torch.equal(whole, torch.tensor([[0, 0, 400, 300]]).expand_as(whole))


def test_windows_lie_in_the_canvas_and_overlap_as_their_sampler_wants(many):
    plan = draw_plan(many, 1, CONFIG)
    canvas = draw_plan(many, 1, replace(CONFIG, crop=False)).windows
    assert (plan.windows[:, :2] >= canvas[:, :2]).all()
    assert (plan.windows[:, 2:] <= canvas[:, 2:]).all()
    assert (plan.windows[:, 2:] > plan.windows[:, :2]).all()
    for window, sampler in zip(plan.windows.tolist(), plan.sampler.tolist(), strict=True):
        if sampler:
            assert naive_iou(window, (100, 50, 250, 200)) >= MIN_OVERLAPS[sampler - 1] - 1e-6


def assert_equal_plans(first: Plan, second: Plan, objects: int):
    for field in fields(Plan):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if field.name in ("boxes", "labels"):
            one, other = one[:, :objects], other[:, :objects]
        assert torch.equal(one, other), field.name


def test_a_plan_does_not_depend_on_the_batch_or_the_padding(pack):
    sizes, boxes = random_objects(30, np.random.default_rng(2))
    images, keys = blank(sizes), np.random.default_rng(3).integers(0, 2**32, 30).tolist()
    together = draw_plan(pack(images, boxes, keys, epoch=4, padding=5), 9, CONFIG)
    for index in range(30):
        own = slice(index, index + 1)
        alone = draw_plan(pack(images[own], boxes[own], keys[own], epoch=4), 9, CONFIG)
        part = Plan(*(getattr(together, field.name)[own] for field in fields(Plan)))
        assert_equal_plans(part, alone, len(boxes[index]))


def test_epoch_and_seed_change_a_plan(pack):
    sizes, boxes = random_objects(20, np.random.default_rng(2))
    first = draw_plan(pack(blank(sizes), boxes), 0, CONFIG)
    for epoch, seed in ((1, 0), (0, 1)):
        other = draw_plan(pack(blank(sizes), boxes, epoch=epoch), seed, CONFIG)
        assert not torch.equal(first.windows, other.windows)
        assert not torch.equal(first.hue, other.hue)


COLOURS = {"brightness", "contrast", "saturation", "hue"}
OBJECTS = {"boxes", "labels"}


@pytest.mark.parametrize(
    ("change", "may_differ"),
    [
        ({"photometric": False}, COLOURS),
        ({"flip_probability": 0.0}, {"flip", "boxes"}),
        ({"crop": False}, {"windows", "sampler", *OBJECTS}),
        ({"expand_probability": 0.0}, {"windows", "sampler", *OBJECTS}),
    ],
)
def test_switching_one_part_off_changes_no_other(many, plan_of_many, change, may_differ):
    part = draw_plan(many, 0, replace(CONFIG, **change))
    for field in fields(Plan):
        equal = torch.equal(getattr(plan_of_many, field.name), getattr(part, field.name))
        assert equal != (field.name in may_differ), field.name


def test_everything_off_is_the_identity(many):
    off = AugmentConfig(photometric=False, expand_probability=0, crop=False, flip_probability=0)
    drawn, identity = draw_plan(many, 0, off), identity_plan(many)
    assert_equal_plans(replace(drawn, contrast_first=identity.contrast_first), identity, 1)
    assert torch.equal(identity.windows[0], torch.tensor([0, 0, 400, 300]))
    expected = torch.tensor([100 / 400, 50 / 300, 250 / 400, 200 / 300])
    torch.testing.assert_close(identity.boxes[0, 0], expected)


def test_images_without_objects_are_never_cropped(pack):
    images = blank([(90, 60)] * 50)
    for padding in (0, 3):
        samples = pack(images, [[]] * 50, padding=padding)
        plan = draw_plan(samples, 0, CONFIG)
        uncropped = draw_plan(samples, 0, replace(CONFIG, crop=False))
        assert torch.equal(plan.windows, uncropped.windows)
        assert not plan.sampler.any()
        assert plan.boxes.shape == (50, padding, 4)
        assert not plan.labels.any()


def test_a_plan_is_drawn_without_reading_a_value(many):
    """On the meta device tensors have no values: anything that needs one raises."""
    plan = draw_plan(to_device(many, torch.device("meta")), 0, CONFIG)
    assert plan.windows.shape == (2000, 4)
    assert all(getattr(plan, field.name).is_meta for field in fields(Plan))
