"""What a log knows of its spikes: where in the pass they stand, and what stands beside them.

Letters: `N` rows, `K` spikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssd.diagnose.detect import Spikes
from ssd.diagnose.log import Floats, Ints, Log

LR_STEPS = 4
BEFORE_ROWS = 15


@dataclass(frozen=True)
class Evidence:
    """What a log knows of its spikes.

    Attributes:
        log: the log.
        spikes: what was found in it.
        pass_length: steps of a pass; None where it is a guess that it is the period.
        place: the spikes' step in the pass, from 0; None where it is unknown.
        once_per_pass: whether they come once per pass, as far as the log has these steps.
        images: images of the steps that spike, and of the usual ones; None where unknown.
        division: how many times less the loss is divided by at the spikes, per positive.
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
        """`The loss spikes every 21 steps, at the last step of each pass`."""
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
    def seen(self) -> str:
        """`4.1 times its surroundings, p < 1e-6`."""
        p_value = self.spikes.p_value
        chance = "p < 1e-6" if p_value < 1e-6 else f"p = {p_value:.1g}"
        return f"{self.spikes.ratio:.3g} times its surroundings, {chance}"


def gather(log: Log, spikes: Spikes) -> Evidence:
    """What the log knows of its spikes."""
    stride = stride_of(log)
    length = log.steps_per_epoch
    assumed = length or spikes.period
    in_whole_passes = spikes.period % assumed == 0
    starts_with_pass = length is not None or log.steps[0] - log.first_step < stride
    place = (spikes.phase - log.first_step) % assumed
    return Evidence(
        log=log,
        spikes=spikes,
        pass_length=length,
        place=place if in_whole_passes and starts_with_pass else None,
        once_per_pass=spikes.period == math.lcm(assumed, stride),
        images=_images(log, spikes.rows),
        division=_division(log, spikes.rows),
        lr=_lr_jump(log.columns.get("lr"), spikes.rows),
    )


def height(log: Log, values_N: Floats, spikes: Spikes) -> float:
    """The median over the spikes of a value / median of those before it; NaN if there is none."""
    heights = []
    for row in spikes.rows.tolist():
        near = np.arange(max(0, row - BEFORE_ROWS), row)
        near = near[log.steps[near] >= log.steps[row] - max(spikes.period // 2, 2)]
        before = values_N[near][np.isfinite(values_N[near]) & (values_N[near] > 0)]
        if len(before) and math.isfinite(values_N[row]):
            heights.append(values_N[row] / np.median(before))
    return float(np.median(heights)) if heights else math.nan


def stride_of(log: Log) -> int:
    """Steps from one row to the next, where the log has only every n-th step."""
    steps = log.steps[usable_rows(log)]
    return int(np.gcd.reduce(np.diff(steps))) if len(steps) > 1 else 1


def usable_rows(log: Log) -> npt.NDArray[np.bool_]:
    """Which rows [N] can be judged."""
    usable: npt.NDArray[np.bool_] = np.isfinite(log.loss) & (log.loss > 0)
    return usable


def _images(log: Log, rows: Ints) -> tuple[float, float] | None:
    """The median number of images of the steps that spike, and of all."""
    images = log.columns.get("num_images")
    if images is None:
        return None
    few, full = _median(images[rows]), _median(images)
    return (few, full) if few > 0 and full > 0 else None


def _division(log: Log, rows: Ints) -> float | None:
    """How many times smaller the divisor of a positive is at the spikes than elsewhere."""
    if not {"divisor", "num_positives"} <= log.columns.keys():
        return None
    per_positive = log.columns["divisor"] / np.maximum(log.columns["num_positives"], 1)
    here, usual = _median(per_positive[rows]), _median(per_positive)
    return usual / here if here > 0 and usual > 0 else None


def _lr_jump(lr_N: Floats | None, rows: Ints) -> tuple[float, float] | None:
    """The learning rate on both sides of its greatest rise, just before a spike: medians."""
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


def _median(values: Floats) -> float:
    """Of the finite ones; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan


def images_text(count: float) -> str:
    """`1 image`, `3 images`."""
    return f"{count:.0f} image{'s' * (round(count) != 1)}"
