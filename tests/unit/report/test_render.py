import math

import pytest

from ssd.report.render import count, number, percent, text, times


@pytest.mark.parametrize("write", [count, number, percent, times])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, "3", True])
def test_what_is_no_number_is_a_dash(write, value):
    assert write(value) == "–"


@pytest.mark.parametrize(
    ("write", "value", "written"),
    [
        (percent, 0.6254, "62.5 %"),
        (count, 1234567, "1\u202f234\u202f567"),
        (number, 2.1e-6, "2.1e-06"),
        (number, 12.4, "12"),
        (times, 0.981, "0.98×"),
        (times, 9.994, "9.99×"),
        (times, 9.996, "10.0×"),
        (times, 15.31, "15.3×"),
        (times, 1e300, "1e+300×"),
        (text, "a", "a"),
        (text, ["ä"], '["ä"]'),
    ],
)
def test_how_numbers_are_written(write, value, written):
    assert write(value) == written
