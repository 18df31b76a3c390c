from pathlib import Path

import numpy as np
import torch
from torchvision.ops import box_iou

from ssd.data.statistics import best_overlaps, collect_objects, per_class, quantiles
from ssd.structures import DataSet, Record


def random_data(seed):
    rng = np.random.default_rng(seed)
    records = []
    for number in range(20):
        width, height = rng.integers(50, 600, 2).tolist()
        count = int(rng.integers(0, 6))
        corners = rng.random((count, 2, 2)) * (width, height)
        boxes = np.concatenate([corners.min(1), corners.max(1) + 1], 1).astype(np.float32)
        labels, crowd = rng.integers(1, 4, count), rng.random(count) < 0.2
        difficult = np.zeros(count, np.bool_)
        records.append(
            Record(str(number), Path("x"), width, height, boxes, labels, difficult, crowd)
        )
    return DataSet(records, ("cat", "dog", "emu", "gnu"), {})


def test_objects_equal_the_naive_loop():
    data = random_data(1)
    found = collect_objects(data, 300)
    rows, images_of = [], {label: set() for label in range(1, 5)}
    for index, record in enumerate(data.records):
        for box, label, crowd in zip(record.boxes, record.labels, record.crowd, strict=True):
            if not crowd:
                width = (box[2] - box[0]) / record.width * 300
                height = (box[3] - box[1]) / record.height * 300
                rows.append((label, index, (width * height) ** 0.5, width / height))
                images_of[label].add(index)
    assert 20 < len(rows) < sum(len(record.labels) for record in data.records)
    labels, images, sizes, ratios = zip(*rows, strict=True)
    assert found.labels.tolist() == list(labels)
    assert found.image_index.tolist() == list(images)
    np.testing.assert_allclose(found.sizes, sizes, rtol=1e-5)
    np.testing.assert_allclose(found.ratios, ratios, rtol=1e-5)
    size_class = [0 if size < 32 else 1 if size < 96 else 2 for size in sizes]
    assert found.size_class.tolist() == size_class
    objects, in_images = per_class(found, 4)
    assert objects.tolist() == [labels.count(label) for label in range(1, 5)]
    assert in_images.tolist() == [len(images_of[label]) for label in range(1, 5)]


def test_best_overlaps_equal_torchvisions_iou():
    corners = torch.rand(600, 2, 2)  # more than are taken at once
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    others = torch.rand(70, 2, 2)
    default_boxes = torch.cat([others.amin(1), others.amax(1)], 1)
    expected = box_iou(boxes, default_boxes).amax(1).numpy()
    found = best_overlaps(boxes.numpy(), default_boxes)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert best_overlaps(np.zeros((0, 4), np.float32), default_boxes).shape == (0,)


def test_quantiles():
    assert quantiles(np.arange(101, dtype=np.float32)) == {
        "5%": 5,
        "25%": 25,
        "50%": 50,
        "75%": 75,
        "95%": 95,
    }
    assert quantiles(np.zeros(0, np.float32)) == {}
