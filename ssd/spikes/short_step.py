"""The weight of a short last step: harm that may be there without a spike in the loss.

A mean over the r images of a short step moves the weights as far as one over the B images of a full
step. Each of the r images then counts B / r times as much as one of a full step, and (B / r)² times
if the mean is divided by the batch size as well. The gradient of few images is also noisier: where
noise makes most of it, its norm stands at √(B / r) times its surroundings, and at (B / r)^1.5 times
if it is divided twice.

Letter: `K` short steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.detect import NOTABLE, Spikes, find_spikes, grid_of, heights_at, median_of
from ssd.spikes.evidence import SHORT, division_at, mostly_clipped
from ssd.spikes.log import Ints, Log

AGREES = 1.5
REGULAR = 0.8  # of the short steps are at one place of the pass, and of the steps there are short
DEFECT = "batch_positives_and_size"
WEIGHT = "weight its gradient by its images / those of a full step"
ONCE = "divide the loss once, by the positives of the step, and "


@dataclass(frozen=True)
class ShortStep:
    """A short step whose images count too much.

    Attributes:
        weight: how many times as much an image of the short step counts as one of a full step.
        gradient: height of the gradient norm at the short steps; None where unknown.
        clipped: whether the gradient is clipped there, which bounds the harm.
        counted: whether the log holds the numbers of images, from which the weight follows.
        sentence: the finding in plain words.
        advice: what to do.
    """

    weight: float
    gradient: float | None
    clipped: bool
    counted: bool
    sentence: str
    advice: str


def find_short_step(log: Log, spikes: Spikes | None) -> ShortStep | None:
    """The short step of the passes, if its images count too much; None where unknown.

    The log tells it by its numbers of images, by the spikes of its loss, or by those of the
    gradient norm, the most certain first.

    Args:
        log: the log.
        spikes: the regular spikes of its loss, if a short last batch is their cause.
    """
    if log.divisor == "step_positives" and log.short_step == "share":
        return None
    rows = short_rows(log)
    counted = len(rows) > 0
    if counted:
        images = log.columns["num_images"]
        few, full = float(np.median(images[rows])), float(np.nanmedian(images))
        factor = full / few
        where = f"One step of each pass is short, of {few:g} instead of {full:g} images"
    elif spikes is not None:
        rows, factor = spikes.rows, spikes.ratio
        where = f"A short last step with 1/{factor:.3g} of the images would fit the spike"
    elif (raised := _raised_gradient(log)) is not None:
        rows, factor = raised.rows, raised.ratio ** (2 / 3 if log.divisor == DEFECT else 2)
        where = "The gradient norm is regularly raised at the last step of each pass, as a short "
        where += f"step with about 1/{factor:.2g} of the images would raise it"
    else:
        return None
    weight = factor * _division(log, rows, spikes, factor)
    is_possible = log.batch_size is None or factor <= AGREES * log.batch_size
    if weight < NOTABLE or not is_possible:
        return None
    gradient = height_at_short(log, rows, "grad_norm")
    is_clipped = mostly_clipped(log, rows)
    sentence = _sentence(log, where, weight, gradient, is_clipped)
    return ShortStep(weight, gradient, is_clipped, counted, sentence, _advice(log, is_clipped))


def short_rows(log: Log) -> Ints:
    """The rows [K] of the steps, one in each pass, with fewer images than a full one.

    Empty where the log does not tell, and where small steps come at any place of the pass, as with
    batches by shape, or in a part of the run.
    """
    none = np.zeros(0, np.int64)
    images = log.columns.get("num_images")
    if images is None:
        return none
    rows = np.flatnonzero((images > 0) & (images < SHORT * np.nanmedian(images)))
    if len(rows) < 2:
        return none
    steps = log.steps
    period = log.steps_per_epoch or int(np.median(np.diff(steps[rows])))
    places, counts = np.unique(steps[rows] % period, return_counts=True)
    place = places[np.argmax(counts)]
    at_place = np.flatnonzero((steps % period == place) & np.isfinite(images))
    here = np.intersect1d(rows, at_place)
    is_regular = len(here) >= REGULAR * max(len(rows), len(at_place))
    return here if is_regular and period > 1 else none


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
    """The factor by which the divisor per positive is smaller at the short steps; 1 for a mean."""
    known = division_at(log, rows, log.steps_per_epoch or len(log.steps))
    if known is not None:
        return known
    if log.divisor is not None or spikes is None:
        return factor if log.divisor == DEFECT else 1.0
    return factor if 1 / AGREES < spikes.ratio / factor < AGREES else 1.0


def _sentence(log: Log, where: str, weight: float, gradient: float | None, is_clipped: bool) -> str:
    """The finding in plain words."""
    unless = "" if log.divisor else "unless the program weights it, "
    counts = "would count" if is_clipped else "counts"
    text = f"{where}: {unless}each image of it {counts} {weight:.3g} times as much as any other"
    if gradient is not None and gradient >= NOTABLE:
        text += f", and its gradient is {gradient:.3g} times as long as those around it"
    return f"{text}, but the gradient is clipped there." if is_clipped else f"{text}."


def _advice(log: Log, is_clipped: bool) -> str:
    """The remedies that are not in use."""
    if log.divisor == "step_positives":
        remedy = f"{WEIGHT} (loss.short_step share)"
    else:
        remedy = f"{ONCE}{WEIGHT} (loss.divisor step_positives, loss.short_step share)"
    clip = "" if is_clipped else ", or clip the gradient (training.clip_norm)"
    return f"To end this, {remedy}, or leave the step out (training.drop_last){clip}."
