"""An evaluation that leaves images out has the figures of a data set that never had them."""

from dataclasses import replace

import numpy as np
import pytest

from ssd.config import EvaluationConfig
from ssd.data.coco import read_coco
from ssd.data.voc import read_voc
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.measure import measure
from ssd.evaluation.seen import without


def detections_of(data, names):
    """The true boxes of some images, a little moved, and a false one in each."""
    rows = []
    for index, record in enumerate(data.records):
        if record.image_id in names:
            moved = record.boxes + np.float32(0.5)
            rows += [(index, label, 0.9, *box) for label, box in zip(record.labels, moved)]  # noqa: B905
            rows.append((index, 1, 0.95, 0, 0, 5, 5))
    table = np.array(rows, float)
    indices = table[:, :2].astype(np.int64)
    return DetectionTable(indices[:, 0], indices[:, 1], table[:, 2], table[:, 3:])


@pytest.mark.parametrize("metric", ["voc07", "voc_area", "coco"])
def test_voc(voc, metric):
    voc.fill(9)
    voc.split("seen", [f"img{n:02}" for n in range(9) if n not in (1, 5)])
    check(read_voc(voc.root, ["trainval"], None), read_voc(voc.root, ["seen"], None), metric)


@pytest.mark.parametrize("metric", ["voc_area", "coco"])
def test_coco(coco, metric):
    coco.write()
    whole = read_coco(coco.root, ["val"], ["dog", "cat"])
    coco.content["images"] = [one for one in coco.content["images"] if one["id"] != 7]
    coco.content["annotations"] = [
        one for one in coco.content["annotations"] if one["image_id"] != 7
    ]
    coco.write("instances_seen.json")
    (coco.root / "images/seen").symlink_to(coco.images)
    check(whole, read_coco(coco.root, ["seen"], ["dog", "cat"]), metric)


def check(whole, expected, metric):
    config = EvaluationConfig(metric=metric, coco_evaluator="pycocotools")
    names = [record.image_id for record in expected.records]
    left_out = {
        index: f"{record.image_id}: cut off"
        for index, record in enumerate(whole.records)
        if record.image_id not in names
    }
    data, table = without(whole, detections_of(whole, names), left_out)
    found = measure(data, table, config)
    wanted = measure(expected, detections_of(expected, names), config)
    assert found.images_left_out == len(left_out) > 0
    np.testing.assert_equal(figures(found), figures(wanted))
    assert data.image_ids == expected.image_ids
    assert data.unusable == tuple(left_out.values())


def figures(result):
    shown = replace(result, images_left_out=0, curves={})
    return vars(shown) | {name: np.stack(curve) for name, curve in result.curves.items()}


def test_nothing_left_out_changes_nothing(voc):
    data = read_voc(voc.fill(4).root, ["trainval"], None)
    table = detections_of(data, ["img01"])
    assert without(data, table, {}) == (data, table)
