"""Suggested default boxes, counted by torchvision's overlaps in a model that has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, box_iou

from ssd.config import Config, ModelConfig
from ssd.doctor.misfits import judge_boxes
from ssd.doctor.statistics import unmatched
from ssd.doctor.suggest import k_means, suggest
from ssd.geometry.default_boxes import default_boxes
from ssd.model.ssd import build_backbone, build_model, feature_maps
from ssd.structures import DataSet, Record
from ssd.training.fitted_boxes import fit_boxes

SIZE = 128
MODEL = ModelConfig(input_size=SIZE)


def objects(shortest, longest, elongations, count=150):
    """Boxes [N, 4] of these sizes and elongations anywhere in the image, relative to it."""
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(shortest), np.log(longest), count))
    roots = np.sqrt(rng.uniform(*elongations, count))
    sides = np.stack([sizes * roots, sizes / roots], 1) / SIZE
    sides = np.where(rng.random((count, 1)) < 0.5, sides, sides[:, ::-1])
    corners = rng.uniform(0, 1, (count, 2)) * (1 - sides)
    return np.concatenate([corners, corners + sides], 1).astype(np.float32)


def maps_of(model):
    return feature_maps(build_backbone(model), model)


def misfits(boxes, model):
    """The objects that no default box of the whole model fits."""
    defaults = box_convert(build_model(model, 3).default_boxes, "cxcywh", "xyxy")
    return int((box_iou(torch.from_numpy(boxes), defaults).amax(1) < 0.5).sum())


LONG, SMALL = objects(20, 60, (3.5, 5)), objects(7, 20, (1, 1.3))


@pytest.mark.parametrize("boxes", [LONG, SMALL])
def test_a_model_with_the_suggested_boxes_fits_more_objects(boxes):
    shapes, left = suggest(boxes, maps_of(MODEL), SIZE, 0.5)
    assert misfits(boxes, ModelConfig(input_size=SIZE, **shapes.settings)) == left
    assert left < misfits(boxes, MODEL)


def test_no_sizes_and_ratios_of_a_grid_fit_more_small_objects():
    """Nor could they: the positions of the finest map are 8 pixels apart."""
    _, left = suggest(SMALL, maps_of(MODEL), SIZE, 0.5)
    for small, middle in [(7, 12), (9, 14), (9, 18), (11, 16), (13, 18), (13, 20), (15, 20)]:
        for ratios in ([1.2], [1.4], [1.7], [1.2, 1.6]):
            sizes = [small, middle, 30, 60, 120]
            tried = ModelConfig(input_size=SIZE, box_sizes=sizes, aspect_ratios=ratios)
            assert misfits(SMALL, tried) >= left


def test_nothing_is_suggested_where_every_object_has_its_box():
    defaults = default_boxes(maps_of(MODEL), SIZE)[::10]
    boxes = box_convert(defaults, "cxcywh", "xyxy").numpy()
    assert suggest(boxes, maps_of(MODEL), SIZE, 0.5) is None
    assert suggest(boxes[:0], maps_of(MODEL), SIZE, 0.5) is None


def test_the_nearest_centre_is_the_one_of_the_highest_iou():
    """Of squares, and of boxes of one area: both on a logarithmic scale."""
    rng = np.random.default_rng(0)
    values, centres = np.exp(rng.normal(0, 1, 200)) + 1, np.exp(rng.normal(0, 1, 5)) + 1
    nearest = np.abs(np.log(values)[:, None] - np.log(centres)).argmin(1)
    for sides in (lambda v: (v, v), lambda v: (np.sqrt(v), 1 / np.sqrt(v))):
        for value, place in zip(values, nearest, strict=True):
            (width, height), others = sides(value), [sides(centre) for centre in centres]
            inter = [min(width, w) * min(height, h) for w, h in others]
            union = [width * height + w * h for w, h in others]
            iou = [i / (both - i) for i, both in zip(inter, union, strict=True)]
            assert np.argmax(iou) == place


def test_k_means_finds_separate_groups():
    groups = [10 * np.ones(30), 40 * np.ones(40), 160 * np.ones(30)]
    np.testing.assert_allclose(k_means(np.concatenate(groups), 3), [10, 40, 160])


@pytest.mark.parametrize(("share", "told"), [(0.2, False), (0.4, True)])
def test_a_third_without_a_default_box_is_worth_a_look(share, told):
    fits = box_convert(default_boxes(maps_of(MODEL), SIZE)[::60][:100], "cxcywh", "xyxy").numpy()
    boxes = np.concatenate([objects(20, 60, (4, 5)), fits])
    alone = unmatched(boxes, default_boxes(maps_of(MODEL), SIZE), 0.5)
    chosen = np.concatenate([np.flatnonzero(alone)[: round(100 * share)], np.flatnonzero(~alone)])
    chosen = chosen[:100]
    findings, lines = judge_boxes(
        boxes[chosen], alone[chosen], maps_of(MODEL), MODEL, 0.5, asked=False
    )
    assert bool(findings) == bool(lines) == told
    if told:
        assert findings[0].message.startswith("40 of 100 objects (40 %) overlap no default box")
        assert lines[2].strip().startswith("model: {box_sizes: [")
        assert lines[3].strip().startswith("--model.box_sizes '[")


def test_own_ratios_stand_on_every_map():
    model = build_model(ModelConfig(input_size=SIZE, aspect_ratios=[1.5, 2.5, 4]), 3)
    sides = model.default_boxes[:, 2:]
    ratios = (sides[:, 0] / sides[:, 1]).reshape(-1, 8)
    expected = torch.tensor([1, 1, 1.5, 1 / 1.5, 2.5, 1 / 2.5, 4, 1 / 4])
    torch.testing.assert_close(ratios, expected.expand(len(ratios), 8))
    predictions = model(torch.zeros(1, 3, SIZE, SIZE))
    assert predictions.logits.shape == (1, len(sides), 3)


def test_fitted_boxes_leave_as_many_objects_as_they_say():
    records = [
        Record(
            image_id=str(place),
            path=Path("an image"),
            width=200,
            height=100,
            boxes=np.concatenate([boxes, boxes[:1]]) * np.array([200, 100, 200, 100], np.float32),
            labels=np.ones(6, np.int64),
            difficult=np.zeros(6, np.bool_),
            crowd=np.arange(6) == 5,  # never trained on
        )
        for place, boxes in enumerate(np.split(LONG, 30))
    ]
    fitted, told = fit_boxes(Config(model=MODEL), DataSet(records, ("a",), {}))
    left = misfits(LONG, fitted)
    share, before = (round(100 * count / 150) for count in (left, misfits(LONG, MODEL)))
    assert told == f"fitted: {share} % of the objects fit none, {before} % with the backbone's own"
    assert left < misfits(LONG, MODEL)
