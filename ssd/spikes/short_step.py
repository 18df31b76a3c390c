"""The weight of a short last step: harm that may be there without a spike in the loss.

A mean over the r images of a short step moves the weights as far as one over the B images of a full
step. Each of the r images then counts B / r times as much as one of a full step, and (B / r)² times
if the mean is divided by the batch size as well. The gradient of few images is also noisier: where
noise makes most of it, its norm stands at √(B / r) times its surroundings.

Letter: `K` short steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.detect import NOTABLE, Spikes, find_spikes, grid_of, heights_at, median_of
from ssd.spikes.evidence import SHORT, division_at, images_text
from ssd.spikes.log import Ints, Log

AGREES = 1.5
ADVICE = (
    "Weight the gradient of the short step by its images / those of a full step (loss.short_step "
    "share), leave the step out (training.drop_last), or clip the gradient (training.clip_norm)."
)


@dataclass(frozen=True)
class ShortStep:
    """A short step whose images count too much.

    Attributes:
        weight: how many times as much an image of the short step counts as one of a full step.
        gradient: height of the gradient norm at the short steps; None where unknown.
        clipped: whether the gradient is clipped there, which bounds the harm.
        sentence: the finding in plain words.
        advice: what to do.
    """

    weight: float
    gradient: float | None
    clipped: bool
    sentence: str
    advice: str = ADVICE


def find_short_step(log: Log, spikes: Spikes | None) -> ShortStep | None:
    """The short last step of the passes, if its images count too much; None where unknown.

    The log tells it by its number of images, by the spikes of its loss, or by those of the gradient
    norm, the most certain first.

    Args:
        log: the log.
        spikes: the regular spikes of its loss, if a short last batch is their cause.
    """
    if log.divisor == "step_positives" and log.short_step == "share":
        return None
    rows = short_rows(log)
    if len(rows):
        assert log.batch_size is not None
        images = float(np.median(log.columns["num_images"][rows]))
        factor = log.batch_size / images
        where = f"The short last step of each pass has {images_text(images)} instead of "
        where += f"{log.batch_size}"
    elif spikes is not None:
        rows, factor = spikes.rows, spikes.ratio
        where = f"If the spike is that of a short last step with {factor:.3g} times fewer images"
    elif (raised := _raised_gradient(log)) is not None:
        rows, factor = raised.rows, raised.ratio**2
        where = "The gradient norm is raised at the last step of each pass, which fits a short "
        where += f"step with about {factor:.2g} times fewer images"
    else:
        return None
    weight = factor * _division(log, rows, spikes, factor)
    if weight < NOTABLE:
        return None
    gradient = height_at_short(log, rows, "grad_norm")
    clipped = log.columns.get("clipped")
    is_clipped = clipped is not None and bool(np.mean(clipped[rows] == 1) > 0.5)
    return ShortStep(
        weight, gradient, is_clipped, _sentence(log, where, weight, gradient, is_clipped)
    )


def short_rows(log: Log) -> Ints:
    """The rows [K] of the steps with fewer images than a full one; empty where unknown."""
    images = log.columns.get("num_images")
    if images is None or not log.batch_size:
        return np.zeros(0, np.int64)
    rows = np.flatnonzero((images >= 1) & (images < SHORT * log.batch_size))
    return rows if len(rows) < len(images) / 2 else rows[:0]


def height_at_short(log: Log, rows: Ints, name: str) -> float | None:
    """The height of a column at the rows of short steps; None where unknown."""
    values = log.loss if name == "loss" else log.columns.get(name)
    if values is None:
        return None
    height = median_of(heights_at(log.steps, values, rows, log.steps_per_epoch or len(log.steps)))
    return height if math.isfinite(height) else None


def _raised_gradient(log: Log) -> Spikes | None:
    """The spikes of the gradient norm at the last step of each pass, if it has them."""
    norms, length, first = log.columns.get("grad_norm"), log.steps_per_epoch, log.first_step
    if norms is None or length is None or first is None or "num_images" in log.columns:
        return None
    spikes = find_spikes(log.steps, norms, math.lcm(length, grid_of(log.steps)[0]))
    if spikes is None or not spikes.found or (spikes.phase - first) % length != length - 1:
        return None
    return spikes


def _division(log: Log, rows: Ints, spikes: Spikes | None, factor: float) -> float:
    """How many times smaller the divisor per positive is at the short steps; 1 if it is a mean."""
    known = division_at(log, rows, log.steps_per_epoch or len(log.steps))
    if known is not None:
        return known
    if log.divisor is not None or spikes is None:
        return factor if log.divisor == "batch_positives_and_size" else 1.0
    return factor if 1 / AGREES < spikes.ratio / factor < AGREES else 1.0


def _sentence(log: Log, where: str, weight: float, gradient: float | None, is_clipped: bool) -> str:
    """The finding in plain words."""
    unless = "" if log.divisor else "unless the program weights it, "
    text = f"{where}: {unless}each of its images counts {weight:.3g} times as much as any other"
    if gradient is not None and gradient >= NOTABLE:
        text += f", and its gradient is {gradient:.3g} times as long as those around it"
        text += ", before it is clipped" if is_clipped else ""
    return f"{text}."
