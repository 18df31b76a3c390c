"""Default boxes that fit the objects of the training set: `model.fit_boxes`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ssd.config import Config, ModelConfig
from ssd.doctor.misfits import percent
from ssd.doctor.statistics import unmatched
from ssd.doctor.suggest import suggest
from ssd.geometry.default_boxes import default_boxes
from ssd.model.ssd import build_backbone, feature_maps
from ssd.structures import DataSet, FloatArray


def fit_boxes(config: Config, data: DataSet) -> tuple[ModelConfig, str]:
    """The section `model` with box sizes and aspect ratios for the objects to train on.

    Args:
        config: the whole run.
        data: the images to train on.

    Returns:
        The section, as it was if it gives sizes itself or no other boxes fit more objects; and a
        line that says how many objects no default box fits, before and after.
    """
    model, match_iou = config.model, config.loss.match_iou
    if model.box_sizes is not None:
        return model, "model.box_sizes as they are given: model.fit_boxes has nothing to do"
    with torch.random.fork_rng(devices=[]):
        maps = feature_maps(build_backbone(model), model)
    boxes_N4 = objects_of(data, config.data.train_difficult)
    before = default_boxes(maps, model.input_size, clamp=model.clamp_boxes)
    misfits, total = int(unmatched(boxes_N4, before, match_iou).sum()), len(boxes_N4)
    found = suggest(boxes_N4, maps, model.input_size, match_iou, model.clamp_boxes)
    if found is None:
        return model, f"the backbone's own: {percent(misfits, total)} of the objects fit none"
    shapes, left = found
    told = (
        f"fitted: {percent(left, total)} of the objects fit none, {percent(misfits, total)} with "
        "the backbone's own"
    )
    ratios = model.aspect_ratios if shapes.ratios is None else list(shapes.ratios)
    return replace(model, box_sizes=list(shapes.sizes), aspect_ratios=ratios), told


def objects_of(data: DataSet, train_difficult: bool) -> FloatArray:
    """The objects [N, 4] to train on, xyxy relative to their images."""
    parts = [np.zeros((0, 4), np.float32)]
    for record in data.records:
        sides = np.array([record.width, record.height] * 2, np.float32)
        parts.append(record.boxes[record.trained_on(train_difficult)] / sides)
    return np.concatenate(parts)
