"""The loss sums against a naive loop, image by image and box by box."""

import pytest
import torch
import torch.nn.functional as F

from ssd.config import LossConfig
from ssd.loss.multibox import hard_negatives, multibox_loss
from ssd.structures import Predictions, Targets


def random_case(num_images=3, num_boxes=40, num_classes=4, positive_share=0.1):
    labels = torch.randint(1, num_classes, (num_images, num_boxes))
    labels[torch.rand(labels.shape) > positive_share] = 0
    predictions = Predictions(
        torch.randn(num_images, num_boxes, num_classes, requires_grad=True),
        torch.randn(num_images, num_boxes, 4, requires_grad=True),
    )
    targets = Targets(
        labels,
        torch.randn(num_images, num_boxes, 4),
        labels == 0,
        (labels > 0).sum(1).float(),
        torch.randint(0, 3, labels.shape),
    )
    return predictions, targets


def default_boxes_of(predictions):
    """A default box of its own for each prediction."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 + 0.5 * torch.rand(predictions.locations.shape[1], 4, generator=generator)


def loss_of(predictions, targets, **settings):
    boxes = default_boxes_of(predictions)
    return multibox_loss(predictions, targets, boxes, LossConfig(**settings))


def naive_sums(predictions, targets, ratio, minimum):
    class_sums, box_sums = [], []
    for logits, locations, labels, wanted, eligible in zip(
        predictions.logits,
        predictions.locations,
        targets.labels,
        targets.locations,
        targets.eligible,
        strict=True,
    ):
        losses = [-F.log_softmax(row, 0)[label] for row, label in zip(logits, labels, strict=True)]
        positives = [index for index, label in enumerate(labels) if label > 0]
        negatives = [index for index in range(len(labels)) if eligible[index]]
        negatives.sort(key=lambda index: -losses[index].item())
        hardest = negatives[: max(int(ratio * len(positives)), minimum)]
        class_sums.append(sum((losses[i] for i in positives + hardest), torch.zeros(())))
        box_sums.append(
            sum(
                (F.smooth_l1_loss(locations[i], wanted[i], reduction="sum") for i in positives),
                torch.zeros(()),
            )
        )
    return torch.stack(class_sums), torch.stack(box_sums)


@pytest.mark.parametrize(
    ("positive_share", "ratio", "minimum"),
    [(0.1, 3.0, 0), (0.6, 3.0, 0), (0.1, 1.0, 5), (0.0, 3.0, 4), (1.0, 3.0, 0)],
)
def test_equals_the_naive_loop_in_value_and_gradient(positive_share, ratio, minimum):
    predictions, targets = random_case(positive_share=positive_share)
    sums = loss_of(predictions, targets, negatives_per_positive=ratio, min_negatives=minimum)
    class_sums, box_sums = naive_sums(predictions, targets, ratio, minimum)
    torch.testing.assert_close(sums.class_loss, class_sums)
    torch.testing.assert_close(sums.box_loss, box_sums)
    inputs = [predictions.logits, predictions.locations]
    ours = torch.autograd.grad(sums.class_loss.sum() + sums.box_loss.sum(), inputs)
    naive = torch.autograd.grad(
        class_sums.sum() + box_sums.sum(), inputs, allow_unused=True, materialize_grads=True
    )
    torch.testing.assert_close(ours, naive)


def test_an_image_without_objects_adds_zero_and_keeps_its_graph():
    predictions, targets = random_case(positive_share=0.0)
    sums = loss_of(predictions, targets)
    (sums.class_loss + sums.box_loss).sum().backward()
    assert sums.class_loss.tolist() == sums.box_loss.tolist() == [0.0, 0.0, 0.0]
    assert predictions.logits.grad.abs().sum() == 0


def test_low_precision_predictions_are_summed_in_fp32():
    predictions, targets = random_case()
    low = Predictions(predictions.logits.bfloat16(), predictions.locations.bfloat16())
    exact = Predictions(low.logits.float(), low.locations.float())
    sums, expected = loss_of(low, targets), loss_of(exact, targets)
    assert sums.class_loss.dtype == torch.float32
    assert torch.equal(sums.class_loss, expected.class_loss)
    assert torch.equal(sums.box_loss, expected.box_loss)


def test_undefined_targets_of_unmatched_boxes_do_no_harm():
    predictions, targets = random_case()
    targets.locations[targets.labels == 0] = -torch.inf
    sums = loss_of(predictions, targets)
    sums.box_loss.sum().backward()
    assert torch.isfinite(sums.box_loss).all()
    assert torch.isfinite(predictions.locations.grad).all()


def test_hard_negatives_are_mined_in_each_image_alone():
    loss = torch.tensor([[0.1, 0.4, 0.3, 0.2], [9.0, 8.0, 7.0, 6.0]])
    eligible = torch.tensor([[True, True, False, True], [True, True, True, True]])
    chosen = hard_negatives(loss, eligible, torch.tensor([2.0, 1.0]))
    assert chosen.tolist() == [[False, True, False, True], [True, False, False, False]]


def test_more_hard_negatives_than_there_are():
    loss, eligible = torch.rand(1, 5), torch.tensor([[True, False, False, True, False]])
    assert torch.equal(hard_negatives(loss, eligible, torch.tensor([9.0])), eligible)
