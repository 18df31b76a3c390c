"""The short cuts of long logs against the long way."""

from statistics import NormalDist

import numpy as np
import pytest

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
