"""The suppression in an exported file, on predictions made for it, beside `postprocess`."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ssd.augment.batch import Preprocess
from ssd.config import EvaluationConfig
from ssd.deploy.graph import DetectionGraph
from ssd.deploy.onnx_file import onnx_bytes, traced
from ssd.deploy.openvino_file import ir_content, open_ir
from ssd.detect.postprocess import postprocess
from ssd.structures import Predictions
from tests.unit.deploy.nets import facts_of, random_detector

onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install '.[export]'")
pytest.importorskip("onnxscript", reason="needs pip install '.[export]'")

P, C = 60, 4
SIDE = 64
NOT_NUMBERS = (float("nan"), float("inf"), -float("inf"))


class Made(nn.Module):
    """Stands in for a network: its predictions are the pixels, in the order of the boxes."""

    def __init__(self, default_boxes_P4):
        super().__init__()
        self.register_buffer("default_boxes", default_boxes_P4)

    def forward(self, images):
        values = images.flatten(1)[:, : P * (C + 4)].view(-1, P, C + 4)
        return Predictions(values[..., :C], values[..., C:])


def in_onnxruntime(content, path):
    session = onnxruntime.InferenceSession(content)
    return lambda images: session.run(None, {"images": images})


def in_openvino(content, path):
    for suffix, part in ir_content(content).items():
        path.with_suffix(suffix).write_bytes(part)
    return open_ir(path.with_suffix(".xml")).run


def run(runtime, path, config, predictions, default_boxes):
    """The detections in the file of a graph with these thresholds, for each image."""
    preprocess = Preprocess(SIDE, (0, 0, 0), (1, 1, 1), True)
    graph = DetectionGraph(Made(default_boxes), preprocess, False, config)
    facts = replace(facts_of(random_detector()), input_size=SIDE)
    outputs_of = runtime(onnx_bytes(traced(graph), facts), path)
    values = torch.cat([predictions.logits, predictions.locations], -1).flatten(1)
    images = torch.zeros(len(values), 3 * SIDE * SIDE)
    images[:, : values.shape[1]] = values
    boxes, scores, labels, counts = outputs_of(images.view(-1, 3, SIDE, SIDE).numpy())
    assert not scores[np.arange(scores.shape[1]) >= counts[:, None]].any()
    assert not labels[np.arange(scores.shape[1]) >= counts[:, None]].any()
    assert not boxes[np.arange(scores.shape[1]) >= counts[:, None]].any()
    return [
        (boxes[i, :n] / SIDE, scores[i, :n], labels[i, :n]) for i, n in enumerate(counts.tolist())
    ]


@pytest.mark.parametrize(
    ("background", "count"), [(80.0, 0), (0.0, 5)], ids=["nothing", "one place"]
)
def test_more_may_be_asked_for_than_few_candidates_give(background, count, tmp_path):
    """Fewer default boxes are in use than the detections that are asked for."""
    config = EvaluationConfig(top_k=5, max_detections=1000, nms_iou=1)
    default_boxes = torch.cat([torch.rand(P, 2), 0.05 + 0.3 * torch.rand(P, 2)], 1)
    logits = torch.tensor([80.0, 0, 0, 0]).repeat(1, P, 1)
    logits[:, :7] = torch.tensor([background, 9, 0, 0])
    predictions = Predictions(logits, torch.randn(1, P, 4))
    ((boxes, scores, labels),) = run(
        in_onnxruntime, tmp_path / "model.onnx", config, predictions, default_boxes
    )
    (wanted,) = postprocess(predictions, default_boxes, config)
    assert len(scores) == len(wanted.scores) == count
    assert labels.tolist() == wanted.labels.tolist()
    np.testing.assert_allclose(boxes, wanted.boxes, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "config",
    [
        EvaluationConfig(),
        EvaluationConfig(top_k=5, max_detections=1000, score_threshold=0),
        EvaluationConfig(score_threshold=0.3, nms_iou=0.2, max_detections=7),
    ],
)
@pytest.mark.parametrize("runtime", [in_onnxruntime, in_openvino])
def test_equals_postprocess_with_ties_and_what_is_not_a_number(runtime, config, tmp_path):
    if runtime is in_openvino:
        pytest.importorskip("openvino", reason="needs openvino: pip install '.[openvino]'")
    default_boxes = torch.cat([torch.rand(P, 2), 0.05 + 0.3 * torch.rand(P, 2)], 1)
    logits = 2 * torch.randn(6, P, C)
    logits[1] = logits[1, :1]  # all default boxes have the same scores
    logits[2, :, 1:] = logits[2, :, 1:2]  # all classes have the same scores
    logits[3] = torch.tensor([0.0, 40, 0, 40])[torch.randperm(4)].expand(P, C)
    locations = torch.randn(6, P, 4)
    for place, value in enumerate(NOT_NUMBERS):
        logits[4, place, place] = value
        locations[4, 10 + place, place] = value
    locations[4, 20, 2] = 1e4  # the size overflows
    logits[5, :, 0] = 80  # nothing but background; above 87, OpenVINO rounds scores to 0
    predictions = Predictions(logits, locations)
    expected = postprocess(predictions, default_boxes, config)
    found = run(runtime, tmp_path / "model.onnx", config, predictions, default_boxes)
    for wanted, (boxes, scores, labels) in zip(expected, found, strict=True):
        assert labels.tolist() == wanted.labels.tolist()
        np.testing.assert_allclose(scores, wanted.scores, atol=1e-6, rtol=0)
        np.testing.assert_allclose(boxes, wanted.boxes, atol=1e-6, rtol=0)
    assert len(found[0][1]) > 5
    assert len(found[5][1]) == 0 or config.score_threshold == 0
