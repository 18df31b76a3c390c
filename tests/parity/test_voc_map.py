"""AP against py-faster-rcnn's VOC evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.voc import evaluate_voc
from ssd.structures import Record

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/reference/voc_map.json"
FROM_VOC = np.array([-1, -1, 0, 0])  # 1-based inclusive corners to 0-based half-open ones


@pytest.fixture(scope="module")
def reference():
    if not REFERENCE.exists():
        pytest.skip(f"no reference vectors at {REFERENCE}")
    return json.loads(REFERENCE.read_text())


def to_record(image):
    objects = image["objects"]
    return Record(
        image_id=image["image"],
        path=Path(image["image"] + ".jpg"),
        width=image["width"],
        height=image["height"],
        boxes=(np.array([o["box"] for o in objects]).reshape(-1, 4) + FROM_VOC).astype(np.float32),
        labels=np.array([o["cls"] + 1 for o in objects], dtype=np.int64),
        difficult=np.array([o["difficult"] for o in objects], dtype=np.bool_),
        crowd=np.zeros(len(objects), np.bool_),
    )


@pytest.mark.parametrize("iou_threshold", [0.5, 0.75])
@pytest.mark.parametrize(("metric", "named"), [("voc07", "voc07_11point"), ("voc_area", "area")])
def test_ap_equals_the_reference(reference, metric, named, iou_threshold):
    records = [to_record(image) for image in reference["images"]]
    index_of = {record.image_id: index for index, record in enumerate(records)}
    found = reference["detections"]
    table = DetectionTable(
        image_index=np.array([index_of[d["image"]] for d in found]),
        labels=np.array([d["cls"] + 1 for d in found]),
        scores=np.array([d["score"] for d in found]),
        boxes=np.array([d["box"] for d in found]) + FROM_VOC,
    )

    result = evaluate_voc(records, table, reference["classes"], metric, iou_threshold)

    expected = reference["expected"][f"{named}@{iou_threshold}"]
    assert result.per_class == pytest.approx(expected["ap"], abs=1e-9)
    assert result.mAP == pytest.approx(expected["mAP"], abs=1e-9)
    assert result.num_images == len(reference["images"])
