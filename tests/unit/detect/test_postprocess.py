from itertools import product
from types import SimpleNamespace

import pytest
import torch
from torchvision.ops import box_iou

from ssd.config import EvaluationConfig
from ssd.detect import postprocess as rules
from ssd.detect.postprocess import best, postprocess, rank_in_class, suppress
from ssd.geometry.boxes import decode
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
        found += [(scores[i, label].item(), i, label) for i in kept]
    found.sort(key=lambda entry: (-entry[0], *entry[1:]))
    return [(score, label, boxes[i]) for score, i, label in found[: config.max_detections]]


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


def test_a_gpu_without_a_compiler_for_triton_searches(monkeypatch):
    ways = []
    monkeypatch.setattr(rules, "search", lambda *_: ways.append("search"))
    monkeypatch.setattr(rules, "unpad", lambda _: ways.append("padded"))
    monkeypatch.setattr(rules, "padded_detections", lambda *_: torch.zeros(1))
    for is_cuda, has_compiler in product((True, False), repeat=2):
        monkeypatch.setattr(rules, "finds_compiler", lambda has=has_compiler: has)
        logits = SimpleNamespace(is_cuda=is_cuda)
        postprocess(Predictions(logits, None), None, EvaluationConfig())
    assert ways == ["padded", "search", "search", "search"]


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


def test_the_number_of_nms_calls_changes_nothing():
    """One call for the whole batch, as on a GPU, equals one for each of 160 images."""
    corners = torch.rand(160, 32, 2)
    boxes = torch.cat([corners, corners + 0.5], -1).clamp(max=1)
    groups = 8 * torch.arange(160)[:, None] + torch.randint(1, 8, (160, 32))
    candidates = torch.rand(160, 32) < 0.8
    one, many = (suppress(boxes, groups, candidates, 0.45, one_call) for one_call in (True, False))
    assert torch.equal(one, many)
    assert 0 < one.sum() < candidates.sum()
    assert not (one & ~candidates).any()


def test_looking_further_when_too_few_candidates_stay(default_boxes):
    """200 are wanted and the first look is at 1,000, nearly all of which are one and the same."""
    default_boxes[:290] = default_boxes[0]
    logits = torch.randn(1, P, 12)
    logits[:, :290] += 3 * torch.rand(12)
    locations = torch.zeros(1, P, 4)
    config = EvaluationConfig()
    (found,) = postprocess(Predictions(logits, locations), default_boxes, config)
    expected = naive(logits[0], locations[0], default_boxes, config)
    first_look = logits[0].softmax(-1)[:, 1:].flatten().topk(1000).indices // 11
    assert (first_look >= 290).sum() < 100 <= len(expected)
    assert found.labels.tolist() == [label for _, label, _ in expected]
    torch.testing.assert_close(found.scores, torch.tensor([score for score, *_ in expected]))


@pytest.mark.parametrize("max_detections", [1, 3, 40, 1000])
def test_equal_scores_count_in_order_of_position(max_detections, default_boxes):
    """However few candidates are looked at first; all scores have one of a few values."""
    logits = torch.randn(4, C)[torch.randint(0, 4, (2, P))]
    predictions = Predictions(logits, torch.zeros(2, P, 4))
    config = EvaluationConfig(top_k=50, max_detections=max_detections)
    detections = postprocess(predictions, default_boxes, config)
    for image, found in enumerate(detections):
        expected = naive(logits[image], predictions.locations[image], default_boxes, config)
        assert found.labels.tolist() == [label for _, label, _ in expected]
        boxes = torch.stack([box for _, _, box in expected])
        torch.testing.assert_close(found.boxes, boxes, atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [1, 40, 99, 100])
@pytest.mark.parametrize("values", [1, 20, 10_000])
def test_best_falls_and_puts_the_first_of_equal_scores_first(count, values):
    scores = torch.randint(0, values, (3, 100)) / values
    scores[0] = torch.rand(100)
    for row, found, where in zip(scores.tolist(), *best(scores, count), strict=True):
        order = sorted(range(100), key=lambda i: -row[i])[:count]
        assert where.tolist() == order
        assert found.tolist() == [row[i] for i in order]


def test_rank_in_class_counts_those_before():
    labels = torch.randint(0, 5, (4, 50))
    for row, ranks in zip(labels.tolist(), rank_in_class(labels).tolist(), strict=True):
        assert ranks == [row[:place].count(label) for place, label in enumerate(row)]
