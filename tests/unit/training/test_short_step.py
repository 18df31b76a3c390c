"""The short step: under `share`, every image of a pass counts the same."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import DIVISORS, Config, LossConfig
from ssd.data.order import Order
from ssd.loss.matching import match
from ssd.run.checkpoint import Checkpoint
from ssd.structures import Batch
from ssd.training.changes import as_it_began
from ssd.training.own_loop import MultiboxLoss
from ssd.training.step import train_step
from tests.unit.training.tiny import TinyDetector, new_state, settings, split

FULL, PASS = 8, 26  # three full steps and one of two images
SHORT = PASS % FULL
OTHERS = [divisor for divisor in DIVISORS if divisor != "step_positives"]


@pytest.fixture
def float64(monkeypatch):
    """Computes everything in float64, the loss included."""

    def exact_match(*arguments):
        targets = match(*arguments)
        return replace(targets, num_positives=targets.num_positives.double())

    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr("ssd.training.step.match", exact_match)


@pytest.fixture
def a_pass():
    """Images with the same boxes, and so with equally many positives, but other pixels."""
    corners = torch.rand(1, 3, 2) * 0.6
    boxes = torch.cat([corners, corners + 0.1 + 0.3 * torch.rand(1, 3, 2)], -1)
    labels = torch.randint(1, 4, (PASS, 3))
    images = torch.randn(PASS, 3, 32, 32)
    return Batch(images, boxes.expand(PASS, 3, 4), labels, [str(i) for i in range(PASS)])


def gradient(batches, loss, images_per_step=FULL, dtype=torch.float32):
    """The gradient that the optimizer sees, from the same weights each time."""
    state = new_state(dtype=dtype)
    batches = [replace(batch, images=batch.images.to(dtype)) for batch in batches]
    used = settings(state, lr=0.0, loss=loss, images_per_step=images_per_step)
    figures = train_step(state, batches, used)
    return torch.cat([p.grad.flatten() for p in state.model.parameters()]), figures


def gradient_of_a_pass(batch, loss):
    """The sum of the gradients of its steps, all at the same weights."""
    sizes = [FULL] * (PASS // FULL) + [SHORT]
    steps = [gradient([part], loss, dtype=torch.float64)[0] for part in split(batch, sizes)]
    return torch.stack(steps).sum(0)


def relative(one, other):
    return float((one - other).norm() / other.norm())


def test_a_pass_moves_the_weights_as_its_images_together(float64, a_pass):
    """The steps of a pass add up to M / B times the gradient of all M images at once."""
    loss = LossConfig(short_step="share")
    together, _ = gradient([a_pass], loss, images_per_step=None, dtype=torch.float64)
    assert together.dtype == torch.float64
    assert relative(gradient_of_a_pass(a_pass, loss), PASS / FULL * together) < 1e-10


@pytest.mark.parametrize("divisor", DIVISORS)
def test_under_the_other_rules_the_short_step_counts_too_much(float64, a_pass, divisor):
    """Its images count B / r times as much as the others, and (B / r)² times with the defect."""
    loss = LossConfig(
        divisor=divisor, short_step="full" if divisor == "step_positives" else "share"
    )
    together, _ = gradient([a_pass], loss, images_per_step=None, dtype=torch.float64)
    of_a_pass = gradient_of_a_pass(a_pass, loss)
    defect = divisor == "batch_positives_and_size"
    unit = PASS / FULL if defect else 1  # the defect divides the whole set by its size as well
    assert relative(of_a_pass, PASS / FULL * together * unit) > 0.01
    per_image = [
        gradient([part], LossConfig(), None, torch.float64)[0] for part in split(a_pass, [1] * PASS)
    ]
    full, short = torch.stack(per_image[:-SHORT]).sum(0), torch.stack(per_image[-SHORT:]).sum(0)
    weight = (FULL / SHORT) ** (2 if defect else 1)
    expected = (full + weight * short) / FULL / (FULL if defect else 1)
    assert relative(of_a_pass, expected) < 1e-10


def test_the_reported_loss_does_not_show_the_weight(twelve_images):
    shared, figures = gradient([twelve_images], LossConfig(), images_per_step=48)
    whole, in_full = gradient([twelve_images], LossConfig(short_step="full"), images_per_step=48)
    assert torch.equal(shared, whole * 0.25)
    assert torch.equal(figures.grad_norm, in_full.grad_norm * 0.25)
    for rule in DIVISORS:
        assert torch.equal(figures.sums.loss_under[rule], in_full.sums.loss_under[rule])


def test_a_full_step_is_the_same_to_the_bit(twelve_images):
    shared, _ = gradient([twelve_images], LossConfig(), images_per_step=12)
    whole, _ = gradient([twelve_images], LossConfig(short_step="full"), images_per_step=12)
    unknown, _ = gradient([twelve_images], LossConfig(), images_per_step=None)
    assert torch.equal(shared, whole)
    assert torch.equal(shared, unknown)


@pytest.mark.parametrize("divisor", OTHERS)
def test_the_other_divisors_count_every_step_in_full(twelve_images, divisor):
    shared, _ = gradient([twelve_images], LossConfig(divisor=divisor), images_per_step=48)
    whole, _ = gradient([twelve_images], LossConfig(divisor=divisor), images_per_step=None)
    assert torch.equal(shared, whole)


@pytest.mark.parametrize("sizes", [(4, 4, 4), (5, 5, 2), (1, 11), (1,) * 12])
def test_the_split_of_a_short_step_does_not_matter(twelve_images, sizes):
    whole, _ = gradient([twelve_images], LossConfig(), images_per_step=20)
    parts, _ = gradient(split(twelve_images, sizes), LossConfig(), images_per_step=20)
    assert relative(parts, whole) < 1e-5


def test_the_clipping_sees_the_weight(twelve_images):
    _, figures = gradient([twelve_images], LossConfig(), images_per_step=48)
    norm = float(figures.grad_norm)
    state = new_state(momentum=0.0)
    before = torch.cat([p.detach().flatten() for p in state.model.parameters()])
    used = settings(state, clip_norm=2 * norm, images_per_step=48)
    train_step(state, [twelve_images], used)
    after = torch.cat([p.detach().flatten() for p in state.model.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.1 * norm, rel=1e-4)


def test_a_loop_of_ones_own_gets_the_loss_with_the_weighted_gradient(twelve_images):
    model = TinyDetector(batch_norm=False)
    labels = [row[row > 0] for row in twelve_images.labels]
    boxes = [b[row > 0] for b, row in zip(twelve_images.boxes, twelve_images.labels, strict=True)]
    told = {}
    for images_per_step in (None, 12, 48):
        loss = MultiboxLoss(model.default_boxes, images_per_step=images_per_step)
        model.zero_grad()
        outputs = model(twelve_images.images)
        value = loss(outputs.logits, outputs.locations, loss.match(boxes, labels))
        value.backward()
        grad = torch.cat([p.grad.flatten() for p in model.parameters()])
        told[images_per_step] = value.detach(), grad
    assert torch.equal(told[48][0], told[None][0])
    assert torch.equal(told[12][1], told[None][1])
    assert torch.equal(told[48][1], told[None][1] * 0.25)


@pytest.mark.parametrize(
    ("divisor", "short_step", "power"),
    [
        ("batch_positives_and_size", "full", 3),
        ("rank_positives", "full", 1),
        ("step_positives", "full", 1),
        ("step_positives", "share", -1),
    ],
)
def test_the_variance_of_the_short_steps_gradient(float64, a_pass, divisor, short_step, power):
    """(B / r)^power times that of a full step, over every choice of images from a few.

    Choices without replacement vary less, by (M - n) / (M - 1) for n of M images.
    """
    images, full, short = split(a_pass, (6, 20))[0], 3, 1
    loss = LossConfig(divisor=divisor, short_step=short_step)

    def variance(size):
        steps = [
            gradient([pick(images, chosen)], loss, full, torch.float64)[0]
            for chosen in itertools.combinations(range(6), size)
        ]
        every = torch.stack(steps)
        corrected = (6 - 1) / (6 - size)
        return float(((every - every.mean(0)) ** 2).sum(1).mean()) * corrected

    assert variance(short) / variance(full) == pytest.approx((full / short) ** power, rel=1e-9)


def pick(batch, chosen):
    """Some images of a batch."""
    rows = list(chosen)
    return Batch(batch.images[rows], batch.boxes[rows], batch.labels[rows], [])


def test_a_step_cannot_be_more_than_a_full_one(twelve_images):
    shared, _ = gradient([twelve_images], LossConfig(), images_per_step=5)
    whole, _ = gradient([twelve_images], LossConfig(), images_per_step=None)
    assert torch.equal(shared, whole)
    for wrong in (0, -4, float("nan")):
        with pytest.raises(UserError, match="images_per_step is"):
            MultiboxLoss(torch.zeros(1, 4), images_per_step=wrong)


def test_a_data_set_that_does_not_fill_a_step_has_no_short_step():
    """Every step takes all images; to weight it would only lower the learning rate."""
    order = Order(24, batch_size=32, accumulate=1, world_size=1, seed=0, drop_last=False)
    assert order.images_of_largest_step == 24
    assert replace(order, num_images=70).images_of_largest_step == 32


@pytest.mark.parametrize(
    ("saved", "kept"),
    [
        ("loss: {short_step: share}", "share"),
        ("loss: {divisor: step_positives}", "full"),
        ("loss: {gone: 1}", "full"),  # a setting of another version
        ("loss:", "full"),
        ("{}", "full"),
    ],
)
def test_a_resumed_run_keeps_its_rule(saved, kept):
    checkpoint = Checkpoint(Path("step_1"), None, {}, saved)
    given = replace(Config(), loss=LossConfig(box_weight=2.0))
    assert as_it_began(given, checkpoint).loss == LossConfig(box_weight=2.0, short_step=kept)
