"""Evidence about the spikes of a log: their place in the pass, and the columns beside them.

Letters: `N` rows, `K` spikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ssd.spikes.detect import NOTABLE, Spikes, grid_of, heights_at, median_of
from ssd.spikes.log import Floats, Ints, Log

LR_STEPS = 4
SHORT = 0.95  # of a full step's images, or fewer


@dataclass(frozen=True)
class Evidence:
    """The evidence that a log holds about its spikes.

    Attributes:
        log: the log.
        spikes: the spikes found in it.
        pass_length: steps of a pass; None where it is unknown and the period stands in for it.
        place: the spikes' step in the pass, from 0; None where it is unknown.
        once_per_pass: whether they come once per pass, as far as the log has these steps.
        images: images of the steps that spike, and of the usual ones; None where unknown.
        division: how many times smaller the divisor per positive is at the spikes; None where
            unknown.
        lr: the learning rate before and after its jump at the spikes; None where unknown.
    """

    log: Log
    spikes: Spikes
    pass_length: int | None
    place: int | None
    once_per_pass: bool
    images: tuple[float, float] | None
    division: float | None
    lr: tuple[float, float] | None

    @property
    def where(self) -> str:
        """In words: "The loss spikes every 21 steps, at the last step of each pass"."""
        period, place = self.spikes.period, self.place
        start = f"The loss spikes every {period} steps"
        if place is None or not self.once_per_pass:
            return start
        last = (self.pass_length or period) - 1
        ordinals = {0: "the first step", last: "the last step"}
        where = ordinals.get(place, f"step {place + 1}")
        of = "of each pass" if self.pass_length else f"of each {period}, counted from the start"
        return f"{start}, at {where} {of}"

    @property
    def is_last(self) -> bool:
        """True if the spikes are at the last step of the pass."""
        return self.place == (self.pass_length or self.spikes.period) - 1

    @property
    def twice_divided(self) -> bool:
        """True if the spikes may come from dividing by the number of images as well."""
        few = self.images is not None and self.images[0] < self.images[1]
        return few and (self.division is None or self.division >= NOTABLE)

    @property
    def seen(self) -> str:
        """The height and chance in words: "4.1 times its surroundings, p < 1e-6"."""
        p_value = self.spikes.p_value
        chance = "p < 1e-6" if p_value < 1e-6 else f"p = {p_value:.1g}"
        return f"{self.spikes.ratio:.3g} times its surroundings, {chance}"


def gather(log: Log, spikes: Spikes) -> Evidence:
    """Gathers the evidence that a log holds about its spikes."""
    stride, _ = grid_of(log.steps)
    length, first = log.steps_per_epoch, log.first_step
    assumed = length or spikes.period
    place = None
    if first is not None and spikes.period % assumed == 0:
        starts_with_pass = length is not None or log.steps[0] - first < stride
        place = (spikes.phase - first) % assumed if starts_with_pass else None
    return Evidence(
        log=log,
        spikes=spikes,
        pass_length=length,
        place=place,
        once_per_pass=spikes.period == math.lcm(assumed, stride),
        images=_images(log, spikes),
        division=division_at(log, spikes.rows, spikes.period),
        lr=_lr_jump(log.columns.get("lr"), spikes.rows),
    )


def _images(log: Log, spikes: Spikes) -> tuple[float, float] | None:
    """The median number of images of the steps that spike, and of the steps before each."""
    images = log.columns.get("num_images")
    if images is None:
        return None
    few = median_of(images[spikes.rows])
    relative = median_of(heights_at(log.steps, images, spikes.rows, spikes.period))
    return (few, few / relative) if few > 0 and relative > 0 else None


def mostly_clipped(log: Log, rows: Ints) -> bool:
    """Returns whether the gradient was clipped at most of the rows [K]; False where unknown."""
    clipped = log.columns.get("clipped")
    return clipped is not None and bool(np.sum(clipped[rows] == 1) > len(rows) / 2)


def division_at(log: Log, rows: Ints, period: int) -> float | None:
    """The factor by which the divisor per positive is smaller at some rows than before them.

    Args:
        log: the log.
        rows: [K] the rows.
        period: steps from one of them to the next.

    Returns:
        None where unknown.
    """
    if not {"divisor", "num_positives"} <= log.columns.keys():
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        per_positive = log.columns["divisor"] / np.maximum(log.columns["num_positives"], 1)
    relative = median_of(heights_at(log.steps, per_positive, rows, period))
    return 1 / relative if relative > 0 else None


def _lr_jump(lr_N: Floats | None, rows: Ints) -> tuple[float, float] | None:
    """The median learning rates before and after the steepest rise that leads to a spike."""
    if lr_N is None:
        return None
    rises = []
    for row in rows.tolist():
        near = lr_N[max(0, row - LR_STEPS) : row + 1]
        near = near[np.isfinite(near) & (near >= 0)]
        if len(near) > 1:
            steepest = int(np.argmax(near[1:] / np.maximum(near[:-1], 1e-12)))
            rises.append((near[steepest], near[steepest + 1]))
    if not rises:
        return None
    before, after = np.median(np.array(rises), axis=0).tolist()
    return before, after


def images_text(count: float) -> str:
    """The count in words: "1 image", "3 images"."""
    return f"{count:.0f} image{'s' * (round(count) != 1)}"
