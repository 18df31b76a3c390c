"""Postprocessing with fixed shapes on a CUDA device: `pytest -m gpu tests/gpu`.

For memory errors: `compute-sanitizer python -m pytest -m gpu tests/gpu/test_postprocess.py -k few`.
"""

import pytest
import torch

from ssd.config import EvaluationConfig
from ssd.detect import postprocess as rules
from ssd.detect.candidates import class_scores, clipped_boxes
from ssd.detect.padded import padded_detections, unpad
from ssd.structures import Predictions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

CUDA = torch.device("cuda")
CONFIG = EvaluationConfig()
# Lead of the background's logit: none, as with random weights, and large, as after training
LEADS = {"untrained": 0.0, "trained": 9.0}


def random_boxes(count):
    return torch.cat([torch.rand(count, 2), 0.05 + 0.4 * torch.rand(count, 2)], 1).to(CUDA)


def random_predictions(images=16, boxes=8732, classes=81, lead=0.0):
    logits, locations = torch.randn(images, boxes, classes), torch.randn(images, boxes, 4)
    logits[..., 0] += lead
    return Predictions(logits.to(CUDA), locations.to(CUDA))


def found_on_cpu(monkeypatch, predictions, default_boxes, config):
    """The CPU's way, from the scores and boxes of the GPU, whose last bits are its own."""
    scores = class_scores(predictions).cpu()
    boxes, finite = clipped_boxes(predictions.locations, default_boxes)
    boxes = boxes.masked_fill(~finite[..., None], torch.nan).cpu()
    with monkeypatch.context() as patch:
        patch.setattr(rules, "class_scores", lambda _: scores)
        patch.setattr(rules, "clipped_boxes", lambda ready, _: (ready, ready.isfinite().all(-1)))
        return rules.search(Predictions(scores, boxes), default_boxes.cpu(), config)


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.boxes, other.boxes)


@pytest.mark.parametrize("lead", LEADS.values(), ids=LEADS)
@pytest.mark.parametrize(
    "config",
    [CONFIG, EvaluationConfig(nms_iou=0.9, top_k=3000, max_detections=1000)],
    ids=["default", "several blocks"],
)
def test_detections_equal_those_of_the_cpu(monkeypatch, lead, config):
    predictions, default_boxes = random_predictions(lead=lead), random_boxes(8732)
    found = rules.postprocess(predictions, default_boxes, config)
    assert_equal(found, found_on_cpu(monkeypatch, predictions, default_boxes, config))
    assert all(len(image.scores) > 100 for image in found)


@pytest.mark.parametrize("block", [1, 4, 32, 512])
def test_few_boxes_with_equal_and_bad_ones(monkeypatch, block):
    from ssd.detect import kernel

    monkeypatch.setattr(kernel, "BLOCK", block)
    for boxes, classes in ((1, 2), (37, 2), (37, 6), (100, 3)):
        predictions = random_predictions(3, boxes, classes)
        logits, locations = predictions.logits.round(), predictions.locations.round()
        locations[0, ::5, 1] = torch.nan
        locations[1, ::4, 2] = 500
        logits[2, ::3] = torch.nan
        default_boxes = (random_boxes(boxes) * 8).ceil() / 8
        config = EvaluationConfig(score_threshold=0.0, top_k=50, max_detections=30)
        bad = Predictions(logits, locations)
        found = unpad(padded_detections(bad, default_boxes, config).cpu())
        assert_equal(found, found_on_cpu(monkeypatch, bad, default_boxes, config))


def test_the_host_does_not_wait():
    predictions, default_boxes = random_predictions(), random_boxes(8732)
    for mode in ("default", "error"):  # the first round compiles
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            rows = padded_detections(predictions, default_boxes, CONFIG)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert rows.is_cuda
    assert rows.shape == (16, 200, 6)


def test_a_cuda_graph_finds_the_same():
    default_boxes = random_boxes(8732)
    static = random_predictions()
    padded_detections(static, default_boxes, CONFIG)  # compiles
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        rows = padded_detections(static, default_boxes, CONFIG)
    for lead in (*LEADS.values(), 30.0):  # after 30, no image has any
        predictions = random_predictions(lead=lead)
        static.logits.copy_(predictions.logits)
        static.locations.copy_(predictions.locations)
        graph.replay()
        assert torch.equal(rows, padded_detections(predictions, default_boxes, CONFIG))
        assert bool(rows.any()) == (lead < 30)
