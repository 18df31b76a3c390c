"""Which regular spikes to look for in a log, given what it knows of its passes."""

from __future__ import annotations

import math

import numpy as np

from ssd.spikes.combs import log_chance_of_hits
from ssd.spikes.detect import FEWEST_PASSES, Spikes, find_spikes, grid_of, heights_at
from ssd.spikes.log import Log

AMONG_PASSES = 0.05  # chance of spikes every few passes among the losses of their place


def best_candidate(log: Log, period: int | None) -> Spikes | None:
    """The comb that is the least likely by chance; the pass comes first where two are equal."""
    candidates = []
    length = period or log.steps_per_epoch
    if length:  # a log of every tenth step meets the same place of a pass after lcm(10, pass)
        length = math.lcm(length, grid_of(log.steps)[0])
        candidates.append(find_spikes(log.steps, log.loss, length))
    if period is None:
        anywhere = find_spikes(log.steps, log.loss)
        if anywhere is not None and not (length and _only_noisier(log, anywhere, length)):
            candidates.append(anywhere)
    judged = [candidate for candidate in candidates if candidate is not None]
    return min(judged, key=lambda c: (not c.found, c.p_value, -c.hits), default=None)


def _only_noisier(log: Log, spikes: Spikes, length: int) -> bool:
    """Whether spikes every few passes are but the luck of one noisy step of the pass.

    A short step is noisier than the others, however its loss is divided. The highest losses of the
    log gather at its place, and some multiple of the pass always meets many of them. A true spike
    in every n-th pass stands out among the losses of that place alone, too: of the highest there,
    more are its own than chance gives, for any multiple of the pass.
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
