"""Picks the best candidate for regular spikes in a log, at the length of a pass or at any."""

from __future__ import annotations

import math

import numpy as np

from ssd.spikes.combs import log_chance_of_hits
from ssd.spikes.detect import FEWEST_PASSES, Spikes, find_spikes, grid_of, heights_at
from ssd.spikes.log import Log

AMONG_PASSES = 0.05  # largest chance, among the losses at their place, of spikes every few passes


def best_candidate(log: Log, period: int | None) -> Spikes | None:
    """The comb that is least likely to arise by chance; on a tie, the one of the pass."""
    candidates = []
    length = period or log.steps_per_epoch
    if length:  # a log of every 10th step returns to a place in the pass after lcm(10, pass) steps
        length = math.lcm(length, grid_of(log.steps)[0])
        candidates.append(find_spikes(log.steps, log.loss, length))
    if period is None:
        anywhere = find_spikes(log.steps, log.loss)
        if anywhere is not None and not (length and _only_noisier(log, anywhere, length)):
            candidates.append(anywhere)
    judged = [candidate for candidate in candidates if candidate is not None]
    return min(judged, key=lambda c: (not c.found, c.p_value, -c.hits), default=None)


def _only_noisier(log: Log, spikes: Spikes, length: int) -> bool:
    """Returns whether spikes every few passes are only the luck of one noisy step of the pass.

    A short step is noisier than the others, whatever its loss is divided by. The highest losses of
    the log gather at its place, and some multiple of the pass always hits many of them. A true
    spike in every n-th pass also stands out among the losses of that place alone: it accounts for
    more of the highest there than chance allows, with all multiples of the pass considered.
    """
    if spikes.period <= length or spikes.period % length:
        return False
    rows = np.flatnonzero((log.steps - spikes.phase) % length == 0)
    heights = np.nan_to_num(heights_at(log.steps, log.loss, rows, length))
    highest = rows[np.argsort(-heights, kind="stable")[: len(spikes.rows)]]
    hits = np.intersect1d(highest, spikes.rows).size
    chance = log_chance_of_hits(len(rows), np.array(len(spikes.rows)), np.array(hits))
    multiples = np.arange(2, max(3, len(rows) // FEWEST_PASSES + 1))
    return float(chance) + math.log(multiples.sum()) > math.log(AMONG_PASSES)
