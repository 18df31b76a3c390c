"""The options of the loss against naive loops: overlap, focal, smoothing, prime samples."""

import math

import pytest
import torch

from ssd.geometry.boxes import decode
from ssd.model.head import MultiboxHead
from tests.unit.loss.test_multibox import default_boxes_of, loss_of, random_case


def areas(one, other):
    """Intersection, union and hull of two boxes in corner form."""
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    inter = max(0.0, width) * max(0.0, height)
    union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - inter
    sides = (max(one[i + 2], other[i + 2]) - min(one[i], other[i]) for i in (0, 1))
    return inter, union, *sides


def giou(one, other):
    inter, union, width, height = areas(one, other)
    return 1 - inter / union + (width * height - union) / (width * height)


def ciou(one, other):
    inter, union, width, height = areas(one, other)
    apart = sum((one[i] + one[i + 2] - other[i] - other[i + 2]) ** 2 / 4 for i in (0, 1))
    angles = [math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (one, other)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    alpha = v / (1 - inter / union + v) if v else 0.0
    return 1 - inter / union + apart / (width**2 + height**2) + alpha * v


@pytest.mark.parametrize(("kind", "naive"), [("giou", giou), ("ciou", ciou)])
def test_losses_of_the_overlap(kind, naive):
    predictions, targets = random_case()
    sums = loss_of(predictions, targets, boxes=kind)
    boxes = default_boxes_of(predictions)
    found = decode(predictions.locations.detach(), boxes).double().tolist()
    wanted = decode(targets.locations, boxes).double().tolist()
    for image, labels in enumerate(targets.labels.tolist()):
        expected = sum(
            naive(found[image][box], wanted[image][box])
            for box, label in enumerate(labels)
            if label
        )
        assert sums.box_loss[image].item() == pytest.approx(expected, rel=1e-4)
    sums.box_loss.sum().backward()
    assert torch.isfinite(predictions.locations.grad).all()


@pytest.mark.parametrize("factor", [1e4, 1e9, 1e30])
@pytest.mark.parametrize("kind", ["giou", "ciou"])
def test_a_box_that_grew_without_bound_still_gives_a_finite_loss(kind, factor):
    predictions, targets = random_case()
    with torch.no_grad():
        predictions.locations.mul_(factor)
    sums = loss_of(predictions, targets, boxes=kind)
    sums.box_loss.sum().backward()
    assert torch.isfinite(sums.box_loss).all()
    assert torch.isfinite(predictions.locations.grad).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_network_that_is_sure_has_a_finite_focal_loss(gamma):
    predictions, targets = random_case()
    with torch.no_grad():
        predictions.logits.mul_(100)
    sums = loss_of(predictions, targets, classes="focal", focal_gamma=gamma)
    sums.class_loss.sum().backward()
    assert torch.isfinite(sums.class_loss).all()
    assert torch.isfinite(predictions.logits.grad).all()


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
def test_focal_loss_counts_every_default_box(gamma, alpha):
    predictions, targets = random_case()
    targets.eligible[0, :5] = False
    sums = loss_of(predictions, targets, classes="focal", focal_gamma=gamma, focal_alpha=alpha)
    for image, labels in enumerate(targets.labels.tolist()):
        expected = 0.0
        for box, label in enumerate(labels):
            p = predictions.logits[image, box].softmax(0)[label].item()
            if label or targets.eligible[image, box]:
                weight = alpha if label else 1 - alpha
                expected -= weight * (1 - p) ** gamma * math.log(p)
        assert sums.class_loss[image].item() == pytest.approx(expected, rel=1e-5)


def test_smoothed_labels_spread_a_share_of_the_target():
    predictions, targets = random_case(positive_share=1.0)
    sums = loss_of(predictions, targets, label_smoothing=0.1)
    for image, labels in enumerate(targets.labels.tolist()):
        expected = 0.0
        for box, label in enumerate(labels):
            logs = predictions.logits[image, box].log_softmax(0).tolist()
            expected -= 0.9 * logs[label] + 0.1 * sum(logs) / len(logs)
        assert sums.class_loss[image].item() == pytest.approx(expected, rel=1e-5)


def overlap(one, other):
    inter, union, *_ = areas(one, other)
    return inter / union


def naive_prime(overlaps, objects, labels, class_losses, box_losses, probabilities):
    """PISA's sums of the positives of one image, as sections 4 and 5 of the paper tell them."""
    boxes = range(len(labels))
    within_object = {
        box: sorted(
            (other for other in boxes if objects[other] == objects[box]),
            key=lambda other: -overlaps[other],
        ).index(box)
        for box in boxes
    }
    most = max(labels.count(label) for label in labels)
    weights = []
    for box in boxes:
        peers = [other for other in boxes if labels[other] == labels[box]]
        peers.sort(key=lambda other: (within_object[other], -overlaps[other]))
        weights.append(((most - peers.index(box)) / most) ** 2)
    weighted = sum(w * loss for w, loss in zip(weights, class_losses, strict=True))
    scale = sum(class_losses) / weighted
    aware = [0.2 + 0.8 * p for p in probabilities]
    mean = sum(aware) / len(aware)
    box_sum = sum(w / mean * loss for w, loss in zip(aware, box_losses, strict=True))
    return [w * scale for w in weights], box_sum


def test_prime_samples_weigh_more():
    predictions, targets = random_case(positive_share=0.4)
    plain = {"negatives_per_positive": 0.0}  # the positives alone
    sums = loss_of(predictions, targets, prime_samples=True, **plain)
    boxes = default_boxes_of(predictions)
    found = decode(predictions.locations.detach(), boxes).double()
    wanted = decode(targets.locations, boxes).double()
    gradients = torch.autograd.grad(sums.class_loss.sum(), predictions.logits, retain_graph=True)[0]
    for image in range(3):
        rows = targets.labels[image].nonzero()[:, 0].tolist()
        labels = targets.labels[image][rows].tolist()
        shares = predictions.logits[image].softmax(-1)
        p = [shares[row, label].item() for row, label in zip(rows, labels, strict=True)]
        differences = predictions.locations[image] - targets.locations[image]
        smooth = torch.where(differences.abs() < 1, differences**2 / 2, differences.abs() - 0.5)
        weights, box_sum = naive_prime(
            [overlap(found[image, row].tolist(), wanted[image, row].tolist()) for row in rows],
            targets.objects[image][rows].tolist(),
            labels,
            [-math.log(each) for each in p],
            smooth.sum(1)[rows].tolist(),
            p,
        )
        assert sums.box_loss[image].item() == pytest.approx(box_sum, rel=1e-4)
        assert sums.class_loss[image].item() == pytest.approx(
            sum(-math.log(q) for q in p), rel=1e-4
        )
        # The sum stays; what each positive adds shows in its gradient, weight x (p - 1).
        found_weights = [
            gradients[image, row, label].item() / (q - 1)
            for row, label, q in zip(rows, labels, p, strict=True)
        ]
        assert found_weights == pytest.approx(weights, rel=1e-3, abs=1e-6)


def test_prime_samples_raise_the_score_of_what_is_well_placed():
    predictions, targets = random_case(positive_share=0.4)
    sums = loss_of(predictions, targets, prime_samples=True)
    (gradient,) = torch.autograd.grad(sums.box_loss.sum(), predictions.logits)
    assert gradient[targets.labels > 0].abs().max() > 0
    assert gradient[targets.labels == 0].abs().max() == 0


def test_images_without_objects_and_all_options_at_once():
    predictions, targets = random_case(positive_share=0.0)
    sums = loss_of(predictions, targets, prime_samples=True, boxes="ciou", label_smoothing=0.1)
    (sums.class_loss + sums.box_loss).sum().backward()
    assert sums.box_loss.tolist() == sums.class_loss.tolist() == [0.0, 0.0, 0.0]
    assert predictions.locations.grad.abs().sum() == 0


@pytest.mark.parametrize("separable", [False, True])
def test_a_head_for_the_focal_loss_expects_background(separable):
    head = MultiboxHead([8], [3], 5, separable=separable, scale=0.0).eval()
    head.expect_background(0.99)
    shares = head([torch.randn(2, 8, 4, 4)]).logits.softmax(-1)
    torch.testing.assert_close(shares[..., 0], torch.full((2, 48), 0.99))
    torch.testing.assert_close(shares[..., 1:], torch.full((2, 48, 4), 0.0025))
