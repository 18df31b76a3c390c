"""Makes logs with a known pattern of the epoch, as trainers really write them.

A log is a true curve of one loss a step, with noise and drift, that one of `PATTERNS` shapes and
one of `WAYS` logs. The rule for what can be asked of `ssd.spikes.explain.explain` was written down
before any threshold was chosen (`holds`).

Letters: `S` steps of the run, `N` rows of its log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ssd.spikes.log import Floats, Ints, Log

PATTERNS = ("none", "spike", "running mean", "drop", "fixed order", "grouped", "restarts")
WAYS = (
    "every step",
    "every k, a divisor",
    "every k, no divisor",
    "every k and the last",
    "iterations restart",
    "means over k",
    "fractional epochs",
    "1000 rows",
)
NOISES, TRENDS = ("white", "correlated", "heavy"), ("flat", "exponential", "hyperbolic", "drops")
MOST_STEPS, SAMPLE, FEWEST_ROWS, FEWEST_PASSES, ROWS_OF_PASS = 24_000, 1000, 20, 3, 8
IN_MEAN = 1.25  # height of a spike in the mean that is logged
ALIKE = 0.5  # correlation of passes in a fixed order


@dataclass(frozen=True)
class Made:
    """A log, and the truth about it.

    Attributes:
        log: as a right reader of it would give it.
        pattern: one of `PATTERNS`.
        way: one of `WAYS`.
        length: steps of a pass.
        passes: passes of the run.
        period: steps from one occurrence to the next; those of a pass, or of a cycle of the rate.
        place: the step of the pass, from 0, that spikes; that of the start for other patterns.
        height: of the pattern: times that a spike or a jump is as high as the level around it; the
            correlation of two passes in a fixed order.
        every: steps from row to row, where the way has such a number; otherwise 1.
        at: [N] the step of the pass of each row, from 0.
        noise: standard deviation of a row's log loss, as if the rows were independent.
    """

    log: Log
    pattern: str
    way: str
    length: int
    passes: int
    period: int
    place: int
    height: float
    every: int
    at: Ints
    noise: float


def make(pattern: str, way: str, seed: int) -> Made:
    """A log with this pattern, logged in this way."""
    rng = np.random.default_rng([PATTERNS.index(pattern), WAYS.index(way), seed])
    length, every = _pass(rng, way)
    most = max(6, min(40, MOST_STEPS // length))
    passes = int(rng.integers(5, most + 1)) if pattern != "drop" else int(rng.integers(4, 11))
    sigma = float(rng.uniform(0.03, 0.15))
    noise_S, keep = _noise(rng, sigma, passes * length)
    log_loss_S = 1 + noise_S
    log_loss_S += _trend(rng, pattern, passes * length)
    place, height, period = 0, 1.0, length
    lr_S: Floats | None = None
    at_S = np.arange(passes * length) % length
    if pattern == "spike":
        height = float(np.exp(rng.uniform(np.log(2), np.log(16))))
        place = int(rng.choice([length - 1, length - 1, 0, int(rng.integers(1, length - 1))]))
        spread = 1 + 0.1 * rng.standard_normal(passes)
        log_loss_S[place::length] += np.log(height) * spread
    elif pattern == "drop":
        height = 1 - float(rng.uniform(0.15, 0.4))
        log_loss_S += np.log(height) * (np.arange(passes * length) // length)
    elif pattern == "fixed order":
        times = float(rng.uniform(1.2, 5))
        log_loss_S += times * sigma * np.tile(rng.standard_normal(length), passes)
        inflated = (1 + keep) / (1 - keep) if way == "means over k" else 1.0
        height = times**2 / (times**2 + inflated)
    elif pattern == "grouped":
        period, height = _group(rng, length), float(rng.uniform(0.3, 0.9))
        log_loss_S += height * (0.5 - at_S % period / period)
    elif pattern == "restarts":
        period = int(rng.integers(length // 2, 2 * length)) if rng.random() < 0.5 else length
        period = min(period, passes * length // 5)
        height = float(rng.uniform(1.2, 2.5))
        part_S = np.arange(passes * length) % period / period
        lr_S = 1e-4 + 0.05 * (1 + np.cos(np.pi * part_S))
        log_loss_S += np.log(height) * (1 + np.cos(np.pi * part_S)) / 2
    loss_S = np.exp(log_loss_S)
    if pattern == "running mean":
        means = np.cumsum(loss_S.reshape(passes, length), 1) / np.arange(1, length + 1)
        loss_S = means.ravel()
    steps_S = np.arange(1, len(loss_S) + 1)
    rows = _rows(rng, way, steps_S, at_S + 1, length, every)
    log = _logged(rng, way, loss_S, lr_S, rows, length, every)
    noise = sigma * math.sqrt((1 + keep**every) / (1 - keep**every))
    if way == "means over k":
        noise = sigma * math.sqrt((1 + keep) / (1 - keep) / every)
    return Made(log, pattern, way, length, passes, period, place, height, every, at_S[rows], noise)


def holds(made: Made) -> bool:
    """Whether the log holds enough of its pattern to ask for the right answer.

    - At least 20 rows, and three passes.
    - The length of a pass is told, or the log holds each of its steps, every k-th, or the means.
    - A spike: three passes have a row of the spiking step, or of a mean over it in which it still
      stands at 1.25. Where the length of a pass is not told, the log covers three times the steps
      from such a row to the next.
    - A fixed order: 12 rows in each pass, and 30 pairs of rows of the same step of two passes (in
      means: of the same steps); 100 where the length of a pass is not told. The
      passes correlate by a half or more: the noise does not hide the order.
    - Groups: the length of a pass is told; 4 rows a group and three groups a pass.
    - A running mean: 12 rows in each pass; a drop, and restarts: 8 rows in each pass or cycle.
    - A drop: all rows together tell its size, which is 7 times the error of the best estimate of
      it; where the length of a pass is not told, 11 times, in six passes of 16 rows.
    """
    log, length = made.log, made.length
    rows_of_pass = len(log.steps) / made.passes
    told = log.steps_per_epoch is not None or log.columns.get("epoch") is not None
    dense = made.way not in ("1000 rows",)
    if len(log.steps) < FEWEST_ROWS or made.passes < FEWEST_PASSES or not (told or dense):
        return False
    if made.pattern == "spike":
        if made.way == "means over k":
            return 1 + (made.height - 1) / made.every >= IN_MEAN
        period = length if told else math.lcm(length, made.every)
        covers = len(log.steps) * made.every >= FEWEST_PASSES * period
        return covers and int(np.sum(made.at == made.place)) >= FEWEST_PASSES
    if made.pattern == "fixed order":
        _, counts = np.unique(made.at, return_counts=True)
        pairs = int(np.sum(counts - 1))
        enough = rows_of_pass >= 12 and pairs >= (30 if told else 100)
        return enough and made.height >= ALIKE
    if made.pattern == "grouped":
        rows_of_group = rows_of_pass * made.period / length
        return told and rows_of_group >= 4 and length >= 3 * made.period
    if made.pattern == "drop":
        error = made.noise * math.sqrt(12 / len(log.steps))  # of a slope within the pass
        if -math.log(made.height) < (7 if told else 11) * error:
            return False
        if not told and (made.passes < 6 or rows_of_pass < 16):
            return False
    rows_needed = 12 if made.pattern == "running mean" else ROWS_OF_PASS
    return rows_of_pass * made.period / length >= rows_needed


def _pass(rng: np.random.Generator, way: str) -> tuple[int, int]:
    """The steps of a pass, and from row to row, as the way wants them."""
    every = int(rng.choice([2, 5, 10, 20]))
    length = int(np.exp(rng.uniform(np.log(40), np.log(600))))
    if way in ("every step", "1000 rows"):
        return length, 1
    length = max(length, 6 * every)
    if way == "every k, a divisor":
        return length // every * every, every
    if way == "every k, no divisor":
        return length // every * every + int(rng.integers(1, every)), every
    return length, every


def _group(rng: np.random.Generator, length: int) -> int:
    """The steps of a group of batches: 50 in long passes, a quarter of short ones."""
    return 50 if length >= 200 else max(5, length // 4 - int(rng.integers(0, 2)))


def _noise(rng: np.random.Generator, sigma: float, steps: int) -> tuple[Floats, float]:
    """The noise, and the part of each step's that the next one keeps."""
    white = sigma * rng.standard_normal(steps)
    family = rng.choice(NOISES)
    if family == "heavy":
        heavy: Floats = sigma * rng.standard_t(rng.uniform(3, 6), steps) / 1.5
        return heavy, 0.0
    if family == "correlated":
        keep = rng.uniform(0.2, 0.8)
        lags = np.arange(int(np.log(1e-3) / np.log(keep)) + 2)
        return np.sqrt(1 - keep**2) * np.convolve(white, keep**lags)[:steps], keep
    return white, 0.0


def _trend(rng: np.random.Generator, pattern: str, steps: int) -> Floats:
    t = np.arange(steps) / steps
    family = rng.choice(TRENDS)
    if family == "exponential":
        return np.asarray(-rng.uniform(0.5, 3) * t)
    if family == "hyperbolic":
        first = np.exp(rng.uniform(np.log(5), np.log(500)))
        return np.asarray(-rng.uniform(0.3, 0.8) * np.log1p(t * steps / first))
    if family == "drops" and pattern in ("none", "spike", "fixed order"):
        drops = rng.uniform(0.2, 0.95, rng.integers(1, 4))
        return np.asarray(-(t[:, None] > drops).sum(1) * np.log(rng.uniform(1.2, 2.5)))
    return np.zeros(steps)


def _logged(
    rng: np.random.Generator,
    way: str,
    loss_S: Floats,
    lr_S: Floats | None,
    rows: Ints,
    length: int,
    every: int,
) -> Log:
    """The log of the curve, as a right reader gives it: it knows no more than the file tells."""
    steps, loss = rows + 1, loss_S[rows]
    columns: dict[str, Floats] = {} if lr_S is None else {"lr": lr_S[rows]}
    if way == "means over k":
        loss = loss_S[: len(rows) * every].reshape(-1, every).mean(1)
    log = Log(way, steps, loss, columns)
    epoch = (steps - 1) // length
    if way == "every k and the last":
        return replace(
            log, columns={**columns, "epoch": epoch.astype(np.float64)}, steps_per_epoch=length
        )
    if way == "iterations restart":
        within = rows % length + 1
        steps = epoch * within.max() + within  # the length of a pass is known up to the next row
        columns = {**columns, "epoch": epoch.astype(np.float64)}
        return replace(log, steps=steps, columns=columns, exact=False)
    with_epochs = way == "fractional epochs" or (way == "means over k" and rng.random() < 0.5)
    if with_epochs:
        digits = int(rng.choice([2, 4, 16]))
        columns = {**columns, "epoch": np.asarray(np.round(steps / length, digits))}
        log = replace(log, columns=columns, steps_per_epoch=length)
    if way == "means over k":
        return replace(log, window=every if with_epochs else None)
    if way == "1000 rows" and rng.random() < 0.5:
        return replace(log, steps_per_epoch=length)
    return log


def _rows(
    rng: np.random.Generator, way: str, steps_S: Ints, in_pass_S: Ints, length: int, every: int
) -> Ints:
    """The rows [N] of the curve that the way logs."""
    if way == "1000 rows":
        count = min(SAMPLE, len(steps_S))
        return np.sort(rng.choice(len(steps_S), count, replace=False))
    if way == "iterations restart":
        return np.flatnonzero(in_pass_S % every == 0)
    if way == "every k and the last":
        return np.flatnonzero((in_pass_S % every == 0) | (in_pass_S == length))
    return np.flatnonzero(steps_S % every == 0)
