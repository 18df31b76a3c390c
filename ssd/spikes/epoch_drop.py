"""The level that drops at each new pass: a small set that is learnt by heart.

While the images of a pass are new to this version of the network, the loss stays where it is; as
soon as they come a second time, it is lower at once. Large networks on small sets do so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ssd.spikes.covers import best_cover
from ssd.spikes.finding import Finding
from ssd.spikes.level import jump_at, running_medians, slope_within, spread, without_pass_levels
from ssd.spikes.log import Floats, Ints
from ssd.spikes.passes import Passes, passes_of_length

FEWEST_ROWS, FEWEST_STARTS, FEWEST_STARTS_UNTOLD, WIDTHS, MOST = 20, 2, 4, (4, 12), 0.8
MANY = 10**5  # rows, of which one width has to do
CERTAIN, NOTABLE, SHARE = 1e-3, 0.95, 0.4
LIKELY, CERTAIN_UNTOLD, CERTAIN_JUMP = 0.1, 1e-6, 0.1
DOUBT = (
    " The log does not tell the length of a pass: the period is known to ± {slack} steps. A "
    "learning rate that is lowered as regularly would look the same. To settle it, log the epoch "
    "and the learning rate, or give the steps per epoch."
)
FEWEST_ROWS_OF_PASS = 7.5  # a running mean with fewer looks the same
MOST_SCORE = 6.0  # of a fall, in standard deviations


@dataclass(frozen=True)
class Drop:
    """A drop of the level at each new pass.

    Attributes:
        passes: the passes.
        size: the change of the log of the level from one to the next, beyond that within them.
        p_value: the chance of one as large without a drop.
        slack: steps by which the length of a pass may be off.
        is_told: whether the log tells the passes; if not, they were found by the drops.
    """

    passes: Passes
    size: float
    p_value: float
    slack: float = 0.0
    is_told: bool = True


def find_epoch_drop(steps: Ints, log_loss: Floats, passes: Passes | None) -> Drop | None:
    """The drop of the level at the start of each pass, if there is one."""
    if len(steps) < FEWEST_ROWS:
        return None
    if passes is not None:
        return _drop(log_loss, passes)
    widths = WIDTHS if len(steps) < MANY else WIDTHS[-1:]
    found = [_anywhere(steps, log_loss, width) for width in widths]
    return min(filter(None, found), key=lambda one: one.p_value, default=None)


def tell_epoch_drop(found: Drop) -> Finding:
    """The finding in words."""
    height, length = math.exp(found.size), found.passes.length
    doubt = "" if found.is_told else DOUBT.format(slack=f"{found.slack:.3g}")
    if found.passes.rows < FEWEST_ROWS_OF_PASS:
        return Finding(
            "unknown",
            f"The loss drops by {1 - height:.0%} at the start of each pass of {length:.6g} steps. "
            "A pass has too few rows to tell why: the network may learn its images by heart, or "
            "the log may hold the mean since the start of the pass.",
            "To settle it, log every step.",
            length,
            height,
            found.p_value,
            found.slack,
        )
    return Finding(
        "epoch_drop",
        f"The loss drops by {1 - height:.0%} at the start of each pass of {length:.6g} steps, and "
        f"stays there within it: the network learns the images of a pass by heart.{doubt}",
        "Look at the validation loss: if it rises, stop earlier, or take more data, stronger "
        "augmentation, a smaller network or a lower learning rate.",
        length,
        height,
        found.p_value,
        found.slack,
    )


def _drop(log_loss: Floats, passes: Passes) -> Drop | None:
    starts = passes.starts
    if len(starts) < FEWEST_STARTS:
        return None
    late = np.arange(starts[0] if passes.count > FEWEST_STARTS_UNTOLD else 0, len(log_loss))
    rest = without_pass_levels(log_loss, passes)[late]
    slope = slope_within(rest, passes.place[late], passes.length)
    if slope is None or slope.size < -math.log(NOTABLE) or slope.p_value > CERTAIN:
        return None
    jump = jump_at(log_loss, starts)
    if jump is None or jump.size > -SHARE * slope.size or jump.p_value > CERTAIN_JUMP:
        return None
    return Drop(passes, -slope.size, slope.p_value)


def _anywhere(steps: Ints, log_loss: Floats, width: int) -> Drop | None:
    """The drop with a period that the log does not tell."""
    if len(steps) < 6 * width or np.ptp(np.diff(steps)) > 0:
        return None
    medians = running_medians(log_loss, width)
    change = medians[width:] - medians[:-width]
    rows = np.arange(width, width + len(change))
    falls = (np.median(change) - change) / spread(change)
    falls = np.clip(falls, -MOST_SCORE, MOST_SCORE)
    cover = best_cover(steps[rows - 1] + 1, np.diff(steps)[rows - 1], falls, are_scores=True)
    if cover is None or cover.log_p > math.log(LIKELY):
        return None
    passes = passes_of_length(steps, cover.length, cover.first)
    if len(passes.starts) < FEWEST_STARTS_UNTOLD:
        return None
    drop = _drop(log_loss, passes)
    if drop is None:
        return None
    tried = float(steps[-1] - steps[0]) ** 2 / 18  # lengths of three passes, times their starts
    p_value = min(math.exp(cover.log_p), tried * drop.p_value)
    if p_value > CERTAIN_UNTOLD:
        return None
    at = passes.starts - width
    falls = change[at[(at >= 0) & (at < len(change))]] - np.median(change)
    if len(falls) < FEWEST_STARTS_UNTOLD or np.mean(falls < SHARE * drop.size) < MOST:
        return None
    every = float(np.median(np.diff(steps)))
    slack = cover.slack + math.ceil(width * every / len(passes.starts))
    return replace(drop, p_value=p_value, slack=slack, is_told=False)
