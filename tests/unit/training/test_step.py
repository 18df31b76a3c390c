"""The step: one division for the whole step, whatever its images are split into."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ssd.config import DIVISORS, LossConfig
from ssd.structures import Batch
from ssd.training.average import MovingAverage
from ssd.training.log import Pending, Position, step_rows
from ssd.training.step import match_batch, train_step
from tests.unit.training.tiny import new_state, settings, split

OTHERS = [divisor for divisor in DIVISORS if divisor != "step_positives"]
SPLITS = [(12,), (4, 4, 4), (5, 5, 2), (1, 11), (1,) * 12, (7, 1, 4), (11, 1)]


def gradient(batches: list[Batch], loss: LossConfig) -> tuple[torch.Tensor, torch.Tensor]:
    state = new_state()
    sums = train_step(state, batches, settings(state, loss=loss)).sums
    grads = torch.cat([p.grad.flatten() for p in state.model.parameters()])
    counted = sums.class_loss, sums.box_loss, sums.num_positives, sums.num_images
    return grads, torch.stack([sums.loss_under[loss.divisor], *counted])


@pytest.mark.parametrize("sizes", SPLITS[1:])
def test_splitting_the_images_does_not_change_the_gradient(twelve_images, sizes):
    whole, whole_sums = gradient([twelve_images], LossConfig())
    parts, part_sums = gradient(split(twelve_images, sizes), LossConfig())
    assert (whole - parts).norm() <= 1e-5 * whole.norm()
    torch.testing.assert_close(part_sums, whole_sums)


@pytest.mark.parametrize("divisor", OTHERS)
def test_with_the_other_divisors_it_does(twelve_images, divisor):
    whole, _ = gradient([twelve_images], LossConfig(divisor=divisor))
    parts, _ = gradient(split(twelve_images, (7, 1, 4)), LossConfig(divisor=divisor))
    assert (whole - parts).norm() > 0.05 * whole.norm()


def test_repeating_every_image_does_not_change_the_gradient(twelve_images):
    whole, _ = gradient([twelve_images], LossConfig())
    twice, _ = gradient([twelve_images, twelve_images], LossConfig())
    assert (whole - twice).norm() <= 1e-5 * whole.norm()


def test_the_spike_a_short_batch_is_blown_up_by_the_missing_images(twelve_images):
    """B / r: the same images, alone or repeated four times, differ by the factor of four."""
    three = split(twelve_images, (3, 9))[0]
    four_times = Batch(
        three.images.repeat(4, 1, 1, 1), three.boxes.repeat(4, 1, 1), three.labels.repeat(4, 1), []
    )
    loss = LossConfig(divisor="batch_positives_and_size")
    short, short_sums = gradient([three], loss)
    full, full_sums = gradient([four_times], loss)
    torch.testing.assert_close(short, 4 * full, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(short_sums[0], 4 * full_sums[0])
    ours, _ = gradient([three], LossConfig())
    ours_full, _ = gradient([four_times], LossConfig())
    assert (ours - ours_full).norm() <= 1e-5 * ours.norm()


def test_the_loss_is_the_sum_over_the_positives_of_the_step(twelve_images):
    _, sums = gradient(split(twelve_images, (5, 5, 2)), LossConfig(box_weight=2.0))
    loss, class_sum, box_sum, num_positives, num_images = sums
    torch.testing.assert_close(loss, (class_sum + 2 * box_sum) / num_positives)
    assert num_images == 12


def test_a_step_without_any_object_is_finite_and_moves_nothing(twelve_images):
    state = new_state()
    before = [p.clone() for p in state.model.parameters()]
    empty = split(twelve_images, (1, 1, 10))[1]
    figures = train_step(state, [empty], settings(state))
    assert tuple(figures.sums.loss_under) == DIVISORS
    assert all(loss == 0 for loss in figures.sums.loss_under.values())
    assert not figures.skipped
    assert all(map(torch.equal, before, state.model.parameters()))


def test_clipping_bounds_the_gradient_and_reports_it_unclipped(twelve_images):
    free, clipped = new_state(momentum=0.0), new_state(momentum=0.0)
    start = nn.utils.parameters_to_vector(free.model.parameters()).detach().clone()
    unbounded = train_step(free, [twelve_images], settings(free))
    bounded = train_step(clipped, [twelve_images], settings(clipped, clip_norm=0.5))
    torch.testing.assert_close(unbounded.grad_norm, bounded.grad_norm)
    moved = nn.utils.parameters_to_vector(clipped.model.parameters()) - start
    assert unbounded.grad_norm > 0.5
    torch.testing.assert_close(moved.norm(), torch.tensor(0.1 * 0.5), rtol=1e-4, atol=0)


def test_the_other_divisors_are_reported_as_they_would_have_been(twelve_images):
    parts = split(twelve_images, (7, 1, 4))
    state = new_state()
    losses = train_step(state, parts, settings(state)).sums.loss_under
    for divisor in DIVISORS:
        _, (used, *_) = gradient(parts, LossConfig(divisor=divisor))
        assert torch.equal(losses[divisor], used)


@pytest.mark.parametrize("divisor", DIVISORS)
def test_the_divisor_of_a_row_is_what_the_loss_of_an_image_was_divided_by(twelve_images, divisor):
    """Three divisors are the same for all images of one batch: the quotient of sum and loss."""
    loss, state = LossConfig(divisor=divisor, box_weight=2.0), new_state()
    used = settings(state, loss=loss)
    positives = match_batch(twelve_images, used).num_positives
    assert (positives == 0).any()
    figures = train_step(state, [twelve_images], used)
    (row,) = step_rows([Pending(Position(1, 0, 0, 1), figures, 1.0, 0.0, [])], None, loss)
    if divisor == "image_positives":
        each = [len(positives) * max(1.0, count) for count in positives.tolist()]
        expected = sum(each) / len(each)
    else:
        expected = (row.class_loss_sum + 2 * row.box_loss_sum) / row.loss
    assert row.divisor == pytest.approx(expected, rel=1e-5)


def test_the_momentum_is_reported_after_the_step(twelve_images):
    state = new_state(momentum=0.9)
    first = train_step(state, [twelve_images], settings(state))
    torch.testing.assert_close(first.momentum_norm, first.grad_norm)
    second = train_step(state, [twelve_images], settings(state))
    buffers = [state.optimizer.state[p]["momentum_buffer"] for p in state.model.parameters()]
    expected = torch.cat([buffer.flatten() for buffer in buffers]).norm()
    torch.testing.assert_close(second.momentum_norm, expected)
    without = new_state(momentum=0.0)
    assert train_step(without, [twelve_images], settings(without)).momentum_norm.isnan()


def test_nothing_non_finite_reaches_the_weights(twelve_images):
    state = new_state(batch_norm=True)
    state.average = MovingAverage(state.model, 0.9)
    train_step(state, [twelve_images], settings(state))
    before = copy.deepcopy(state.model.state_dict())
    images = twelve_images.images.clone()
    images[3, 0, 0, 0] = torch.nan
    broken = Batch(images, twelve_images.boxes, twelve_images.labels, twelve_images.image_ids)
    figures = train_step(state, split(broken, (6, 6)), settings(state))
    assert figures.skipped
    assert int(state.updates) == 1
    after = state.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(value).all() for value in state.average.model.state_dict().values())
    train_step(state, [twelve_images], settings(state))
    assert int(state.updates) == 2


def test_a_skipped_first_step_leaves_the_state_of_a_new_run(twelve_images):
    """A fused SGD that skips its first update would keep momenta that nobody has written."""
    fresh, skipping = new_state(batch_norm=True), new_state(batch_norm=True)
    broken = replace(twelve_images, images=twelve_images.images.clone().fill_(torch.nan))
    assert train_step(skipping, [broken], settings(skipping)).skipped
    for _ in range(3):
        expected = train_step(fresh, [twelve_images], settings(fresh))
        found = train_step(skipping, [twelve_images], settings(skipping))
        assert torch.equal(found.momentum_norm, expected.momentum_norm)
    for name, value in fresh.model.state_dict().items():
        assert torch.equal(skipping.model.state_dict()[name], value), name


def test_low_precision_follows_fp32(twelve_images):
    exact, low = new_state(), new_state()
    figures = train_step(exact, [twelve_images], settings(exact))
    low_figures = train_step(low, [twelve_images], settings(low, dtype=torch.bfloat16))
    low_loss, loss = (each.sums.loss_under["step_positives"] for each in (low_figures, figures))
    torch.testing.assert_close(low_loss, loss, rtol=0.02, atol=0)
    assert {each.dtype for each in low_figures.sums.by_name().values()} == {torch.float32}
    assert all(p.dtype == torch.float32 for p in low.model.parameters())


def test_loss_scaling_cancels_out_and_an_overflow_skips(twelve_images):
    plain, scaled = new_state(), new_state()
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    first = train_step(plain, [twelve_images], settings(plain, clip_norm=0.5))
    second = train_step(scaled, [twelve_images], settings(scaled, clip_norm=0.5))
    torch.testing.assert_close(first.grad_norm, second.grad_norm)
    for a, b in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    large = settings(scaled, loss=LossConfig(box_weight=1e4))
    overflow = train_step(scaled, [twelve_images], large)
    assert overflow.skipped
    assert scaled.scaler.get_scale() == 2.0**125
