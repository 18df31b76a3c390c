"""The short cuts of long logs against the long way."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from ssd.spikes import combs, covers, level
from ssd.spikes.combs import normal_scores
from ssd.spikes.level import medians_of
from ssd.spikes.log import Log
from ssd.spikes.patterns import find_patterns


@pytest.mark.parametrize("n", [9, 10, 43_999, 44_001, 120_002])
def test_normal_scores_are_the_quantiles(n):
    quantile = NormalDist().inv_cdf
    expected = [quantile(1 - (rank + 0.5) / n) for rank in range(n)]
    np.testing.assert_allclose(normal_scores(n), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("starts", [[400, 900], [3, 4, 5, 900], [], list(range(7, 990, 7))])
def test_medians_of_parts(starts):
    values = np.random.default_rng(0).normal(size=1000)
    expected = [np.median(part) for part in np.split(values, starts)]
    np.testing.assert_array_equal(medians_of(values, np.array(starts, np.int64)), expected)


def test_a_running_mean_of_many_rows_is_found_by_the_middle_and_told_of_all():
    length, passes = 5000, 20
    losses = 1 + 0.1 * np.random.default_rng(0).random((passes, length))
    losses *= np.linspace(3, 1, passes)[:, None]
    means = np.cumsum(losses, 1) / np.arange(1, length + 1)
    log = Log("made", np.arange(1, passes * length + 1), means.ravel())
    found = find_patterns(log, None).running_mean
    assert found is not None
    assert found.passes.length == length
    assert len(found.raw) == passes * length
    assert abs(int(found.passes.starts[0]) - length) <= 1


@pytest.mark.parametrize("width", [1, 2, 7, 24, 25, 101])
def test_running_medians_are_the_medians_of_all_runs(width):
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=3000), rng.integers(0, 4, 3000).astype(float)):
        expected = np.median(sliding_window_view(values, width), axis=1)
        np.testing.assert_array_equal(level.running_medians(values, width), expected)


@pytest.mark.parametrize("missing", [0, 90, 250])
def test_hits_are_those_of_a_plain_count(missing, monkeypatch):
    monkeypatch.setattr(combs, "CHUNK", 50)
    rng = np.random.default_rng(0)
    for _ in range(20):
        ticks = rng.permutation(300)[missing:]
        ticks = ticks[np.argsort(ticks % 37 != 5, kind="stable")]
        periods, span = np.arange(4, 101), int(ticks.max()) + 1
        expected = []
        for period in periods.tolist():
            for phase in range(period):
                teeth = min(len(range(phase, span, period)), len(ticks))
                hits = int(np.sum(ticks[:teeth] % period == phase))
                if hits > combs.LEAST_HITS * teeth:
                    expected.append((period, phase, teeth, hits))
        most = np.minimum(span // periods + 1, len(ticks))
        found = combs._hits_of_chunk(ticks, span, periods, most)
        assert list(zip(*(each.tolist() for each in found), strict=True)) == expected
        best = combs._best_by_hits(ticks, periods)
        teeth, hits = (np.array([each[i] for each in expected]) for i in (2, 3))
        log_p = combs.log_chance_of_hits(len(ticks), teeth, hits) - math.log(combs.HITS_SHARE)
        assert best == min((0.0, 4, 0), (log_p.min(), *expected[int(log_p.argmin())][:2]))


def test_no_part_of_a_comb_exceeds_its_bound():
    teeth = np.random.default_rng(0).normal(2, 1, 500)
    factors = np.arange(2, 167)
    highest = np.array([combs._fold(teeth, int(factor)).max() for factor in factors])
    bound = combs._highest_z(teeth, factors)
    assert (highest <= bound).all()
    assert (highest[:5] > 0.5 * bound[:5]).all()


@pytest.mark.parametrize("length", [400.0, 400.5])
def test_few_rows_of_a_long_pass_are_looked_at_as_all_its_steps_are(length, monkeypatch):
    rng = np.random.default_rng(0)
    begins = np.arange(0, 3000, 50) + 3
    widths, scores = np.full(60, 50), rng.normal(2, 1, 60)
    monkeypatch.setattr(covers, "SPARSE", 1)
    sparse = covers._stand_out(begins, widths, scores, length)
    monkeypatch.setattr(covers, "SPARSE", 1000)
    assert sparse == covers._stand_out(begins, widths, scores, length)
    first = np.floor(begins % length)
    z = []
    for step in range(math.ceil(length)):
        rows = (step - first) % math.ceil(length) < widths
        z.append(scores[rows].sum() / math.sqrt(max(rows.sum(), 1)))
    assert sparse == (pytest.approx(max(z)), int(np.argmax(np.round(z, 9))))
