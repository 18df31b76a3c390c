"""The pass over the data that each row of a log belongs to, as far as the log tells.

Letter: `N` rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssd.spikes.log import Ints, Log

ROUNDED = 0.011  # most that an epoch rounded to two digits is off
CONSTANT = 0.8  # of the passes have the same length
REPEATS = 0.9  # of the distances from row to row are those of the pass before


@dataclass(frozen=True)
class Passes:
    """The pass of each row.

    Attributes:
        number: [N] the pass, from 0 or later; no row's is below that of the row before.
        place: [N] steps since the pass began, from 0.
        length: steps of a pass; with gradient accumulation it need not be a whole number.
    """

    number: Ints
    place: Ints
    length: float

    @property
    def count(self) -> int:
        """The number of passes that have rows."""
        return len(self.starts) + 1

    @property
    def rows(self) -> float:
        """Rows of a pass, on average."""
        return len(self.number) / max(1, self.count)

    @property
    def starts(self) -> Ints:
        """The first row of each pass but the first."""
        return np.flatnonzero(np.diff(self.number) > 0) + 1


def passes_of(log: Log) -> Passes | None:
    """The passes of a log by its epochs, its steps per epoch, or its rhythm; None if unknown."""
    if len(log.steps) < 2:
        return None
    return _by_fractions(log) or _by_length(log) or _by_whole_epochs(log) or _by_rhythm(log)


def passes_of_length(steps: Ints, length: float, first: int) -> Passes:
    """The passes of rows where each has `length` steps and one begins at step `first`."""
    number = np.floor((steps - first + 1e-6) / length).astype(np.int64)
    place = np.floor(steps - first - number * length + 1e-6).astype(np.int64)
    return Passes(number, place, length)


def _by_fractions(log: Log) -> Passes | None:
    """By epochs that are fractions, such as 0.02: their slope over the steps is 1 / length."""
    epoch = log.columns.get("epoch")
    if epoch is None or not np.isfinite(epoch).all() or (epoch == np.floor(epoch)).all():
        return None
    slope, start = np.polyfit(log.steps, epoch, 1)
    if slope <= 0 or np.abs(start + slope * log.steps - epoch).max() > ROUNDED:
        return None
    length, error = float(1 / slope), ROUNDED / slope / max(1.0, epoch[-1] - epoch[0])
    if log.steps_per_epoch and abs(length - log.steps_per_epoch) < error:
        length = float(log.steps_per_epoch)
    elif abs(length - round(length)) < error < 0.5:
        length = float(round(length))
    first = 1 + round(-start / slope) if abs(start) > ROUNDED else 1
    return passes_of_length(log.steps, length, first)


def _by_length(log: Log) -> Passes | None:
    if not log.steps_per_epoch or log.first_step is None:
        return None
    return passes_of_length(log.steps, log.steps_per_epoch, log.first_step)


def _by_whole_epochs(log: Log) -> Passes | None:
    """By whole epochs; their first rows are one length apart, or the places are not certain."""
    epoch = log.columns.get("epoch")
    if epoch is None or not np.isfinite(epoch).all() or (np.diff(epoch) < 0).any():
        return None
    number = np.floor(epoch).astype(np.int64)
    _, starts = np.unique(number, return_index=True)
    if len(starts) < 2:
        return None
    length = _common(np.diff(log.steps[starts]))
    if length and log.first_step is not None:
        return passes_of_length(log.steps, length, log.first_step)
    whole = np.median(np.diff(log.steps[starts]))
    place = (
        log.steps - log.steps[starts][np.searchsorted(starts, np.arange(len(epoch)), "right") - 1]
    )
    return Passes(number, place, float(whole))


def _by_rhythm(log: Log) -> Passes | None:
    """By rows at every k-th step and the last: their distances repeat with the pass."""
    distances = np.diff(log.steps)
    values, counts = np.unique(distances, return_counts=True)
    often = values[counts >= 3]
    if log.first_step is None or len(often) < 2:
        return None
    rare = np.flatnonzero(distances == often[np.argmin(counts[counts >= 3])])
    rows = _common(np.diff(rare))
    if not rows or rows < 3 or 3 * rows > len(distances):
        return None
    if np.mean(distances[rows:] == distances[:-rows]) < REPEATS:
        return None
    return passes_of_length(log.steps, float(distances[:rows].sum()), log.first_step)


def _common(lengths: Ints) -> int | None:
    """The length that most have; None where they differ."""
    values, counts = np.unique(lengths, return_counts=True)
    if not len(values) or counts.max() < CONSTANT * len(lengths):
        return None
    return int(values[counts.argmax()])
