"""Evidence about the spikes of a log: their place in the pass, and the columns beside them.

Letters: `N` rows, `K` spikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ssd.spikes.candidate import row_width
from ssd.spikes.detect import NOTABLE, Spikes, grid_of, heights_at, median_of, usable_rows
from ssd.spikes.level import falls, running_medians, spread
from ssd.spikes.log import Floats, Ints, Log
from ssd.spikes.passes import Passes

LR_STEPS = 4
FEWEST, FEWEST_PLACES, AROUND = 20, 4, 9  # rows, steps of a pass, rows
SHORT = 0.95  # of a full step's images, or fewer


@dataclass(frozen=True)
class Evidence:
    """The evidence that a log holds about its spikes.

    Attributes:
        log: the log.
        spikes: the spikes found in it.
        pass_length: steps of a pass; None where it is unknown and the period stands in for it.
        place: the spikes' step in the pass, from 0; None where it is unknown. Where several may be
            it, the last step of the pass, or the first, if it is among them.
        once_per_pass: whether they come once per pass, as far as the log has these steps.
        images: images of the steps that spike, and of the usual ones; None where unknown.
        division: how many times smaller the divisor per positive is at the spikes; None where
            unknown.
        of_pattern: whether other steps of the pass differ as regularly, so that those that spike
            are only the highest of a pattern.
        lr: the learning rate before and after its jump at the spikes; None where unknown.
    """

    log: Log
    spikes: Spikes
    pass_length: int | None
    place: int | None
    once_per_pass: bool
    images: tuple[float, float] | None
    division: float | None
    of_pattern: bool
    lr: tuple[float, float] | None

    @property
    def where(self) -> str:
        """In words: "The loss spikes every 21 steps, at the last step of each pass"."""
        period, place = self.spikes.period, self.place
        slack = f" (± {self.spikes.slack})" if self.spikes.slack else ""
        start = f"The loss spikes every {period}{slack} steps"
        if place is None or not self.once_per_pass:
            return start
        last = (self.pass_length or period) - 1
        ordinals = {0: "the first step", last: "the last step"}
        step = f"step {place + 1}"
        if self.spikes.width > 1:
            step = f"one of the steps {place + 1} to {place + self.spikes.width}"
        where = ordinals.get(place, step)
        of = "of each pass" if self.pass_length else f"of each {period}, counted from the start"
        if not self.log.exact:
            of = f"{of} (the last that has a row; some may follow)" if self.is_last else of
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
        if self.spikes.mean_of == 1:
            return f"{self.spikes.ratio:.3g} times its surroundings, {chance}"
        of = self.spikes.mean_of
        logged = 1 + (self.spikes.ratio - 1) / of
        return (
            f"{logged:.3g} times its surroundings in rows that are means over {of} steps, so about "
            f"{self.spikes.ratio:.2g} times in the step itself, {chance}"
        )

    @property
    def names_images(self) -> bool:
        """True if the step is certain, so that images can be told by their number."""
        is_own = self.log.window == 1 or (self.log.window is None and row_width(self.log) == 1)
        return self.log.exact and is_own and self.spikes.width == 1 and not self.spikes.slack


def gather(log: Log, spikes: Spikes, passes: Passes | None) -> Evidence:
    """Gathers the evidence that a log holds about its spikes; `passes` are those of its rows."""
    stride, _ = grid_of(log.steps)
    length = passes.length if passes else None
    assumed = round(length) if length else spikes.period
    once = spikes.period in (assumed, math.lcm(assumed, stride))
    return Evidence(
        log=log,
        spikes=spikes,
        pass_length=round(length) if length else None,
        place=_place(log, spikes, passes, assumed),
        once_per_pass=once,
        images=_images(log, spikes),
        division=division_at(log, spikes.rows, spikes.period),
        of_pattern=_is_of_pattern(log, spikes, passes),
        lr=_lr_jump(log.columns.get("lr"), spikes.rows),
    )


def _place(log: Log, spikes: Spikes, passes: Passes | None, length: int) -> int | None:
    """The step of the pass, from 0; the last or the first, if it is among those that fit."""
    first = log.first_step
    if passes is not None and spikes.mean_of == 1:
        place = round(float(np.median(passes.place[spikes.rows])))
    elif passes is not None:
        place = int(spikes.phase - log.steps[0] + passes.place[0]) % length
    elif first is not None and log.steps[0] - first < grid_of(log.steps)[0]:
        place = (spikes.phase - first) % length
    else:
        return None
    if spikes.period % length and spikes.width == 1:
        return None
    near = range(place - spikes.slack, place + spikes.width + spikes.slack)
    return next((edge % length for edge in (length - 1, length, 0) if edge in near), place)


def _is_of_pattern(log: Log, spikes: Spikes, passes: Passes | None) -> bool:
    """Returns whether the spikes are no higher than the highest of a regular pattern would be."""
    usable = usable_rows(log.loss) & ~np.isin(np.arange(len(log.loss)), spikes.rows)
    places = passes.place if passes else log.steps % spikes.period
    level = np.log(log.loss[usable])
    rest = level - running_medians(np.pad(level, AROUND // 2, mode="reflect"), AROUND)
    kept, where, counts = np.unique(places[usable], return_inverse=True, return_counts=True)
    if falls(_from_the_spike(level, kept, where, counts, int(places[spikes.rows[0]]))):
        return True
    means = np.bincount(where, rest) / counts
    within = rest - means[where]
    often = counts[where] > 1
    if often.sum() < FEWEST or len(means) < FEWEST_PLACES:
        return False
    noise = spread(within[often]) ** 2 / np.mean(1 - 1 / counts[where][often])
    between = spread(means) ** 2 - noise * np.mean(1 / counts)
    logged = 1 + (spikes.ratio - 1) / spikes.mean_of
    highest = NormalDist().inv_cdf(1 - 0.05 / len(means)) + 0.5
    return bool(between > 0 and math.log(logged) < highest * math.sqrt(between))


def _from_the_spike(log_loss: Floats, places: Ints, where: Ints, counts: Ints, at: int) -> Floats:
    """The mean log loss at each place of a pass, from the first place after a spike on."""
    drift = np.polyval(np.polyfit(np.arange(len(log_loss)), log_loss, 3), np.arange(len(log_loss)))
    means = np.bincount(where, log_loss - drift) / counts
    return np.asarray(np.roll(means, -int(np.searchsorted(places, at))))


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
