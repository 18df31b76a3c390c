import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd.spikes import fold

NAN = math.nan
LOGS = st.dictionaries(
    st.integers(-5, 60),
    st.floats(0.1, 100) | st.sampled_from([NAN, math.inf]),
    min_size=1,
    max_size=40,
)


def arrays_of(log):
    steps = sorted(log)
    return np.array(steps), np.array([log[step] for step in steps], float)


def value_at(log, step):
    value = log.get(step, NAN)
    return value if math.isfinite(value) else NAN


@given(LOGS, st.lists(st.integers(-5, 60), max_size=5), st.integers(1, 3))
def test_windows_equal_a_loop(log, centres, stride):
    found = fold.windows(*arrays_of(log), np.array(centres, int), 2, 3, stride)
    expected = [
        [value_at(log, centre + stride * offset) for offset in range(-2, 4)] for centre in centres
    ]
    np.testing.assert_array_equal(found, np.reshape(expected, (len(centres), 6)))


@given(LOGS, st.integers(2, 12), st.integers(-3, 3), st.integers(1, 4))
def test_passes_equal_a_loop(log, period, origin, most):
    places, values = fold.passes(*arrays_of(log), period, origin, most)
    numbers = sorted({(step - origin) // period for step in log})[-most:]
    kept = {(step - origin) % period for step in log if (step - origin) // period in numbers}
    assert places.tolist() == sorted(kept)
    expected = [
        [value_at(log, number * period + origin + place) for place in sorted(kept)]
        for number in numbers
    ]
    np.testing.assert_array_equal(values, expected)


def test_the_passes_of_an_empty_log():
    places, values = fold.passes(np.empty(0, int), np.empty(0), 5, 1, 60)
    assert places.shape == (0,)
    assert values.shape == (0, 0)


def test_level_is_the_median_of_the_first_steps():
    values = np.array(
        [[1, 2, 3, 8, NAN], [NAN, 4, 4, 4, 12], [NAN, NAN, NAN, 5, 5], [0, 0, 0, 1, 1]]
    )
    expected = [[0.5, 1, 1.5, 4, NAN], [NAN, 1, 1, 1, 3], [NAN] * 5, [NAN] * 5]
    np.testing.assert_array_equal(fold.over_level(values, 3), expected)
    np.testing.assert_array_equal(fold.over_level(values[1:2]), [[NAN, 1, 1, 1, 3]])


def test_quantile_leaves_out_what_is_missing():
    values = np.array([[1, NAN, NAN], [2, 4, NAN], [3, 8, NAN]])
    np.testing.assert_array_equal(fold.quantile(values, 0.5), [2, 6, NAN])
    np.testing.assert_array_equal(fold.quantile(values, 0.25), [1.5, 5, NAN])
    np.testing.assert_array_equal(fold.quantile(values[:0], 0.5), [NAN] * 3)


@pytest.mark.parametrize("count", [0, 7, 100])
def test_a_short_curve_is_not_thinned(count):
    assert fold.thin(np.full(count, NAN), 100).tolist() == list(range(count))


def test_thinning_keeps_every_spike_and_every_dip():
    values = np.random.default_rng(0).normal(size=10_000)
    values[[4, 5000, 9999]] = 50, NAN, -50
    rows = fold.thin(values, 200)
    assert 150 < len(rows) <= 200
    assert (np.diff(rows) > 0).all()
    for start in range(0, 10_000, 100):
        kept = values[rows[(rows >= start) & (rows < start + 100)]]
        stretch = values[start : start + 100]
        assert sorted(kept) == [np.nanmin(stretch), np.nanmax(stretch)]
