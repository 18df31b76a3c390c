"""Times postprocessing (predictions to detections) and evaluation (detections to AP)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.image_list import ImageList

from benchmarks.compare import Comparison, Side, compare
from ssd.config import EvaluationConfig
from ssd.detect.postprocess import postprocess
from ssd.evaluation.coco import evaluate_coco
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.voc import evaluate_voc
from ssd.geometry.boxes import to_centre_form
from ssd.structures import DataSet, Predictions, Record

BATCH, NUM_CLASSES, SIZE = 16, 81, 300
MAP_SIZES = 38, 19, 10, 5, 3, 1
# Lead of the background's logit over those of the classes: none with random weights, where all
# candidates compete, and a large one after training, where only a few hundred per image do.
SURENESS = {"untrained": 0.0, "trained": 9.0}
IMAGES, FOUND_IN_IMAGE, OBJECTS_IN_IMAGE, SIDE = 5000, 100, 7, 640


def benchmark_postprocess(
    against_torchvision: bool, rounds: int, device: torch.device
) -> list[Comparison]:
    """Times scores, boxes and suppression of 16 images, 81 classes and 8,732 default boxes.

    Raises an error unless both sides find the same detections.
    """
    theirs: Any = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=NUM_CLASSES)
    images = ImageList(torch.zeros(BATCH, 3, SIZE, SIZE, device=device), [(SIZE, SIZE)] * BATCH)
    maps = [torch.zeros(BATCH, 1, size, size, device=device) for size in MAP_SIZES]
    anchors = theirs.anchor_generator(images, maps)
    default_boxes = to_centre_form(anchors[0] / SIZE)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(BATCH, len(default_boxes), NUM_CLASSES, generator=generator)
    locations = torch.randn(BATCH, len(default_boxes), 4, generator=generator).to(device)
    results = []
    for name, surer in SURENESS.items():
        logits = noise.clone()
        logits[..., 0] += surer
        predictions = Predictions(logits.to(device), locations)
        outputs = {"cls_logits": predictions.logits, "bbox_regression": locations}

        def ours(predictions: Predictions = predictions) -> Any:
            return postprocess(predictions, default_boxes, EvaluationConfig())

        def torchvisions(outputs: dict[str, torch.Tensor] = outputs) -> Any:
            with torch.no_grad():
                return theirs.postprocess_detections(outputs, anchors, images.image_sizes)

        sides: dict[str, Side] = {"ours": ours}
        if against_torchvision:
            sides["torchvision"] = torchvisions
            for one, theirs_on_device in zip(ours(), torchvisions(), strict=True):
                other = {name: value.cpu() for name, value in theirs_on_device.items()}
                torch.testing.assert_close(one.scores, other["scores"], atol=1e-5, rtol=0)
                torch.testing.assert_close(SIZE * one.boxes, other["boxes"], atol=1e-3, rtol=0)
                assert torch.equal(one.labels, other["labels"])
        results.append(compare(f"postprocess, batch {BATCH}, {name}", sides, rounds, device))
    return results


def benchmark_evaluation(rounds: int) -> list[Comparison]:
    """Times VOC's metric, and COCO's twice, on 500,000 detections in 5,000 images of 80 classes.

    Raises an error unless both of COCO's evaluators give the same figures.
    """
    data, found = random_evaluation()
    figures = {}

    def judge(evaluator: Any) -> None:
        figures[evaluator] = evaluate_coco(data, found, evaluator).coco

    device = torch.device("cpu")
    voc = compare(
        "evaluation, VOC's metric",
        {"ours": lambda: evaluate_voc(data.records, found, data.classes, "voc07", 0.5)},
        rounds,
        device,
    )
    sides = {name: lambda name=name: judge(name) for name in ("hotcoco", "pycocotools")}
    coco = compare("evaluation, COCO's metric", sides, rounds, device)
    assert figures["hotcoco"] == figures["pycocotools"]
    return [voc, coco]


def random_evaluation() -> tuple[DataSet, DetectionTable]:
    """Ground truth with 1 % crowds, and detections around it; half have the right class."""
    generator = np.random.default_rng(0)
    classes = tuple(f"class {number}" for number in range(1, NUM_CLASSES))
    records, boxes, labels = [], [], []
    for image in range(IMAGES):
        objects = 1 + generator.poisson(OBJECTS_IN_IMAGE - 1)
        corners = generator.uniform(0, SIDE - 140, (objects, 2))
        sides = np.exp(generator.uniform(np.log(8), np.log(300), (objects, 2)))
        truth = np.concatenate([corners, np.minimum(corners + sides, SIDE)], 1)
        names = generator.integers(1, NUM_CLASSES, objects)
        crowd = generator.random(objects) < 0.01
        records.append(
            Record(
                image_id=str(image),
                path=Path(f"{image}.jpg"),
                width=SIDE,
                height=SIDE,
                boxes=truth.astype(np.float32),
                labels=names,
                difficult=np.zeros(objects, np.bool_),
                crowd=crowd,
            )
        )
        source = generator.integers(0, objects, FOUND_IN_IMAGE)
        moved = truth[source] + generator.normal(0, 6, (FOUND_IN_IMAGE, 4))
        low, high = np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])
        boxes.append(np.concatenate([low, high], 1))
        wrong = generator.integers(1, NUM_CLASSES, FOUND_IN_IMAGE)
        labels.append(np.where(generator.random(FOUND_IN_IMAGE) < 0.5, names[source], wrong))
    table = DetectionTable(
        np.repeat(np.arange(IMAGES), FOUND_IN_IMAGE),
        np.concatenate(labels),
        generator.random(IMAGES * FOUND_IN_IMAGE),
        np.concatenate(boxes),
    )
    return DataSet(records, classes, {}), table
