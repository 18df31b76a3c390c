import pytest
import torch
from torchvision.ops import box_iou

from ssd.config import EvaluationConfig
from ssd.geometry.boxes import decode
from ssd.model.postprocess import best_of_each_class, postprocess, suppress
from ssd.structures import Predictions

P, C = 300, 4


def naive(logits, locations, default_boxes, config):
    """One image, one class, one box at a time."""
    scores, boxes = logits.float().softmax(-1), decode(locations, default_boxes).clamp(0, 1)
    overlaps = box_iou(boxes, boxes)
    found = []
    for label in range(1, logits.shape[-1]):
        candidates = [i for i in range(len(boxes)) if scores[i, label] > config.score_threshold]
        candidates.sort(key=lambda i: -scores[i, label])
        kept = []
        for i in candidates[: config.top_k]:
            if all(overlaps[i, j] <= config.nms_iou for j in kept):
                kept.append(i)
        found += [(scores[i, label].item(), label, boxes[i]) for i in kept]
    found.sort(key=lambda entry: -entry[0])
    return found[: config.max_detections]


@pytest.fixture
def default_boxes():
    return torch.cat([torch.rand(P, 2), 0.05 + 0.3 * torch.rand(P, 2)], 1)


def random_predictions(images=2):
    return Predictions(2 * torch.randn(images, P, C), torch.randn(images, P, 4))


@pytest.mark.parametrize(
    "config",
    [
        EvaluationConfig(),
        EvaluationConfig(top_k=20, max_detections=1000),
        EvaluationConfig(score_threshold=0.3, nms_iou=0.2, max_detections=7),
    ],
)
def test_equals_the_naive_loop(config, default_boxes):
    predictions = random_predictions()
    detections = postprocess(predictions, default_boxes, config)
    for image, found in enumerate(detections):
        expected = naive(
            predictions.logits[image], predictions.locations[image], default_boxes, config
        )
        assert len(expected) > 5
        assert found.labels.tolist() == [label for _, label, _ in expected]
        scores = torch.tensor([score for score, _, _ in expected])
        torch.testing.assert_close(found.scores, scores, atol=1e-6, rtol=0)
        boxes = torch.stack([box for _, _, box in expected])
        torch.testing.assert_close(found.boxes, boxes, atol=1e-6, rtol=0)


def test_low_precision_predictions_give_fp32_detections(default_boxes):
    predictions = random_predictions()
    half = Predictions(predictions.logits.bfloat16(), predictions.locations.bfloat16())
    widened = Predictions(half.logits.float(), half.locations.float())
    for one, other in zip(
        postprocess(half, default_boxes, EvaluationConfig()),
        postprocess(widened, default_boxes, EvaluationConfig()),
        strict=True,
    ):
        assert one.boxes.dtype == one.scores.dtype == torch.float32
        assert one.labels.dtype == torch.int64
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.boxes, other.boxes)


def test_an_image_does_not_depend_on_its_batch(default_boxes):
    predictions = random_predictions(images=3)
    together = postprocess(predictions, default_boxes, EvaluationConfig())
    for image, found in enumerate(together):
        alone = Predictions(
            predictions.logits[image : image + 1], predictions.locations[image : image + 1]
        )
        (expected,) = postprocess(alone, default_boxes, EvaluationConfig())
        assert torch.equal(found.scores, expected.scores)
        assert torch.equal(found.boxes, expected.boxes)
        assert torch.equal(found.labels, expected.labels)


def test_nothing_above_the_threshold(default_boxes):
    logits = torch.zeros(2, P, C)
    logits[..., 0] = 20
    logits[1, 5, 2] = 30
    none, one = postprocess(
        Predictions(logits, torch.zeros(2, P, 4)), default_boxes, EvaluationConfig()
    )
    assert none.boxes.shape == (0, 4)
    assert none.scores.shape == none.labels.shape == (0,)
    assert one.labels.tolist() == [2]
    logits[1, 5, 2] = 0
    detections = postprocess(
        Predictions(logits, torch.zeros(2, P, 4)), default_boxes, EvaluationConfig()
    )
    assert [len(found.scores) for found in detections] == [0, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_predictions_are_left_out(value, default_boxes):
    """A few bad boxes neither crash nor take the places of good ones."""
    config = EvaluationConfig(top_k=10, score_threshold=0.0)
    good = random_predictions()
    bad = Predictions(good.logits.clone(), good.locations.clone())
    bad.logits[:, :50] = value
    kept = Predictions(good.logits[:, 50:], good.locations[:, 50:])
    for one, other in zip(
        postprocess(bad, default_boxes, config),
        postprocess(kept, default_boxes[50:], config),
        strict=True,
    ):
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.boxes, other.boxes)
    bad.locations[:, :, 2] = value
    if value != -torch.inf:  # a width of exp(-inf) is 0
        assert all(len(found.scores) == 0 for found in postprocess(bad, default_boxes, config))


def test_grouping_of_nms_calls_changes_nothing():
    """One call for the whole batch, as on a GPU, equals one call for each of 1,280 classes."""
    groups = torch.arange(1280).repeat_interleave(4)
    boxes = torch.rand(len(groups), 2)
    boxes = torch.cat([boxes, boxes + 0.5], 1).clamp(max=1)
    scores = torch.rand(len(groups))
    one = suppress(boxes, scores, groups, [len(groups)], 0.45)
    many = suppress(boxes, scores, groups, [4] * 1280, 0.45)
    assert torch.equal(one, many)
    assert 0 < one.sum() < len(groups)


def test_best_of_each_class_falls_and_points_at_its_boxes():
    logits = torch.randn(2, P, C)
    scores, boxes = best_of_each_class(logits, top_k=17)
    probabilities = logits.softmax(-1)
    assert scores.shape == (2, C - 1, 17)
    for image in range(2):
        for label in range(1, C):
            column = probabilities[image, :, label]
            assert torch.equal(scores[image, label - 1], column[boxes[image, label - 1]])
            assert torch.equal(scores[image, label - 1], column.sort(descending=True).values[:17])
