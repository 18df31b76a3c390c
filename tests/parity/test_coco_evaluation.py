"""COCO's figures equal those of pycocotools, called by hand on the files."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ssd.data.coco import read_coco
from ssd.evaluation.coco import FIGURES, evaluate_coco
from ssd.evaluation.detections import DetectionTable, read_detections, write_detections

EVALUATORS = ["pycocotools", "hotcoco"]


def by_hand(annotations, detections, category_ids=None):
    """The evaluation that COCO's own example shows."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        found = truth.loadRes(str(detections))
        judge = COCOeval(truth, found, "bbox")
        if category_ids is not None:
            judge.params.catIds = category_ids
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


@pytest.fixture(scope="module")
def annotations(coco128, tmp_path_factory):
    """coco128's val2017 with some crowds among its objects, and its images."""
    root = tmp_path_factory.mktemp("coco")
    content = json.loads((coco128 / "annotations" / "instances_val2017.json").read_text())
    for entry in content["annotations"][::17]:
        entry["iscrowd"] = 1
    bare = content["images"][5]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != bare]
    (root / "annotations").mkdir()
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(content))
    (root / "images").mkdir()
    (root / "images" / "val2017").symlink_to(coco128 / "images" / "val2017")
    return path


@pytest.fixture(scope="module")
def data(annotations):
    return read_coco(annotations.parents[1], ["val2017"], None)


@pytest.fixture(scope="module")
def detections(data, tmp_path_factory):
    """A file of detections near the objects, many in some images, with equal scores among them."""
    rng = np.random.default_rng(0)
    truth = data.truth
    source = rng.integers(0, len(truth.labels), 6000)
    boxes = truth.boxes[source].copy()
    boxes[:, 2:] += boxes[:, :2]
    boxes += rng.normal(0, 1, boxes.shape) * 0.08 * truth.boxes[source][:, [2, 3, 2, 3]]
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), boxes[:, 2:]], 1)
    wrong = rng.integers(1, len(data.classes) + 1, 6000)
    images = np.where(rng.random(6000) < 0.9, truth.image_index[source], 5)
    table = DetectionTable(
        images,
        np.where(rng.random(6000) < 0.7, truth.labels[source], wrong),
        rng.integers(1, 200, 6000) / 200,
        boxes,
    )
    path = tmp_path_factory.mktemp("found") / "detections.json"
    write_detections(path, table, data.image_ids, data.classes, data.category_ids)
    return path


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_all_twelve_figures(annotations, data, detections, evaluator):
    judge = by_hand(annotations, detections)
    expected = dict(zip(FIGURES, judge.stats.tolist(), strict=True))
    assert min(expected.values()) > 0.01
    assert (np.diff(sorted(expected.values())) > 1e-6).all()  # no two could be confused
    table = read_detections(detections, data.image_ids, data.classes, data.category_ids)
    result = evaluate_coco(data, table, evaluator)
    assert result.coco == pytest.approx(expected, abs=1e-9)
    assert result.mAP == result.coco["AP"]
    assert result.num_images == 128
    assert result.num_detections == 6000


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_ap_of_every_class(annotations, data, detections, evaluator):
    judge = by_hand(annotations, detections)
    table = read_detections(detections, data.image_ids, data.classes, data.category_ids)
    result = evaluate_coco(data, table, evaluator)
    for index, name in enumerate(data.classes):
        precision = judge.eval["precision"][:, :, index, 0, 2]
        values = precision[precision > -1]
        expected = float(values.mean()) if len(values) else np.nan
        assert result.per_class[name] == pytest.approx(expected, abs=1e-9, nan_ok=True)
        recall, at_half, _ = result.curves[name]
        if len(values):
            whole = judge.eval["precision"][0, :, index, 0, 2]
            assert at_half.tolist() == whole[: len(at_half)].tolist()
            assert not whole[len(at_half) :].any()
            assert recall.max(initial=0) <= judge.eval["recall"][0, index, 0, 2]


def test_false_positives_in_images_without_annotations_count(data, detections):
    table = read_detections(detections, data.image_ids, data.classes, data.category_ids)
    elsewhere = table.image_index != 5
    assert 400 < (~elsewhere).sum() < 800
    columns = (table.image_index, table.labels, table.scores, table.boxes)
    fewer = DetectionTable(*(column[elsewhere] for column in columns))
    with_them, without = (evaluate_coco(data, t, "pycocotools").mAP for t in (table, fewer))
    assert with_them < without - 0.001


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_some_classes_in_another_order(annotations, data, detections, evaluator):
    classes = ["tv", "person", "dog"]
    some = read_coco(annotations.parents[1], ["val2017"], classes)
    entries = [e for e in json.loads(detections.read_text()) if e["category"] in classes]
    for entry in entries:
        del entry["category"]  # as in COCO's results form
    path = detections.with_name("some.json")
    path.write_text(json.dumps(entries))
    table = read_detections(path, some.image_ids, some.classes, some.category_ids)
    result = evaluate_coco(some, table, evaluator)
    judge = by_hand(annotations, path, list(some.category_ids))
    assert list(result.coco.values()) == pytest.approx(judge.stats.tolist(), abs=1e-9)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_nothing_found(data, evaluator):
    nothing = DetectionTable(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros((0, 4)))
    result = evaluate_coco(data, nothing, evaluator)
    assert (result.mAP, result.num_detections) == (0, 0)
    assert all(value == 0 for value in result.coco.values())


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_boxes_at_the_bounds_of_sizes_and_overlaps(annotations, data, evaluator):
    """Sides of 32 pixels, and halves of objects: a digit lost would change what they count for."""
    truth = data.truth
    halves = truth.boxes * (1, 1, 0.5, 1)
    small = np.concatenate([truth.boxes[:, :2] + 0.01, np.full((len(halves), 2), 32.0)], 1)
    entries = [
        {"image_id": data.image_ids[image], "category_id": data.category_ids[label - 1]}
        | {"bbox": box, "score": 0.5 + 0.001 * number}
        for boxes in (halves, small)
        for number, (image, label, box) in enumerate(
            zip(truth.image_index.tolist(), truth.labels.tolist(), boxes.tolist(), strict=True)
        )
    ]
    path = annotations.with_name("bounds.json")
    path.write_text(json.dumps(entries))
    table = read_detections(path, data.image_ids, data.classes, data.category_ids)
    result = evaluate_coco(data, table, evaluator)
    expected = by_hand(annotations, path).stats.tolist()
    assert list(result.coco.values()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_image_numbers_that_no_float_can_hold(data, detections, evaluator):
    table = read_detections(detections, data.image_ids, data.classes, data.category_ids)
    records = [
        replace(record, image_id=str(1_700_000_000_000_000_000 + int(record.image_id)))
        for record in data.records
    ]
    expected = evaluate_coco(data, table, evaluator).coco
    assert evaluate_coco(replace(data, records=records), table, evaluator).coco == expected
