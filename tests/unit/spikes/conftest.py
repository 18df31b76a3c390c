"""Synthetic loss logs, with and without a regular spike."""

from dataclasses import dataclass

import numpy as np
import pytest

NOISES = ["white", "correlated", "heavy", "outliers"]
TRENDS = ["flat", "exponential", "hyperbolic", "drops"]


@dataclass(frozen=True)
class SyntheticLog:
    """A log, and the truth about it: period and ratio are None where there is no spike."""

    steps: np.ndarray
    loss: np.ndarray
    family: str
    period: int | None = None
    ratio: float | None = None
    phase: int | None = None


def _noise(rng, family, rows, sigma):
    """[N] the log of the noise, of standard deviation about sigma."""
    white = sigma * rng.standard_normal(rows)
    match family:
        case "correlated":
            keep = rng.uniform(0.2, 0.9)
            noise = np.empty(rows)
            last = white[0]
            for i, fresh in enumerate(white * np.sqrt(1 - keep**2)):
                noise[i] = last = keep * last + fresh
            return noise
        case "heavy":
            return sigma * rng.standard_t(rng.uniform(3, 6), rows) / 1.5
        case "outliers":
            struck = rng.random(rows) < rng.uniform(0.002, 0.03)
            return white + struck * np.log(rng.uniform(1.5, 10, rows))
    return white


def _trend(rng, family, rows):
    """[N] the log of the loss without noise."""
    t = np.arange(rows) / rows
    match family:
        case "exponential":
            return -rng.uniform(0.5, 4) * t
        case "hyperbolic":
            return -rng.uniform(0.3, 1) * np.log1p(
                t * rows / np.exp(rng.uniform(np.log(5), np.log(500)))
            )
        case "drops":
            drops = rng.uniform(0.2, 0.95, rng.integers(1, 4))
            return -(t[:, None] > drops).sum(1) * np.log(rng.uniform(1.2, 2.5))
    return np.zeros(rows)


def _thinned(rng, rows, missing):
    return np.flatnonzero(rng.random(rows) >= missing)


def make_plain_log(seed, rows=None):
    """A log without a period."""
    rng = np.random.default_rng([0, seed])
    noise, trend = NOISES[seed % 4], TRENDS[seed // 4 % 4]
    rows = rows or int(np.exp(rng.uniform(np.log(60), np.log(20000))))
    loss = np.exp(2 + _trend(rng, trend, rows) + _noise(rng, noise, rows, rng.uniform(0.03, 0.25)))
    kept = _thinned(rng, rows, rng.choice([0, 0.1]))
    return SyntheticLog(kept + 1, loss[kept], f"{noise} {trend}")


def _spikes(rng, rows, at, height):
    """[N] the log of the factor that spikes of that height add, with a spread and after-shocks."""
    factor = np.zeros(rows)
    factor[at] = np.log(height) * rng.uniform(1 - rng.uniform(0, 0.3), 1.15, len(at))
    if rng.random() < 0.5:
        tail, first = rng.uniform(0.6, 0.9), rng.uniform(0.2, 0.5) * np.log(height)
        for j in range(1, 12):
            after = at[at + j < rows] + j
            factor[after] = np.maximum(factor[after], first * tail ** (j - 1))
    return factor


def make_spiky_log(seed, passes=None, height=1.5, noise=0.25, jitter=True, longest=2000):
    """A log with a spike in every pass."""
    rng = np.random.default_rng([1, seed])
    family, trend = NOISES[seed % 3], TRENDS[seed // 3 % 4]
    period = round(np.exp(rng.uniform(np.log(8), np.log(longest))))
    passes = passes or int(rng.integers(5, min(40, 24000 // period) + 1))
    height = np.exp(rng.uniform(np.log(height), np.log(16)))
    sigma = rng.uniform(0.03, noise)
    rows, phase = period * passes, int(rng.integers(period))
    at = np.arange(phase, rows, period)
    if jitter and rng.random() < 0.4:
        moved = rng.random(len(at)) < rng.uniform(0, 1 / 3)
        at = np.clip(at + moved * rng.choice([-1, 1], len(at)), 0, rows - 1)
    spikes = _spikes(rng, rows, at, height)
    log_loss = 2 + _trend(rng, trend, rows) + _noise(rng, family, rows, sigma)
    kept = _thinned(rng, rows, rng.uniform(0, 0.2) if jitter and rng.random() < 0.4 else 0)
    return SyntheticLog(
        kept + 1,
        np.exp(log_loss + spikes)[kept],
        f"{family} {trend} sigma={sigma:.2f} passes={passes}",
        period,
        float(np.exp(np.median(spikes[at]))),
        (phase + 1) % period,
    )


@pytest.fixture(scope="session")
def plain_log():
    return make_plain_log


@pytest.fixture(scope="session")
def spiky_log():
    return make_spiky_log
