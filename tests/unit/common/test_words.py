"""Numbers in sentences."""

import pytest

from ssd.common.words import in_time


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0.2, "about 1 minute"),
        (12.4, "about 12 minutes"),
        (119.6, "about 2 h 0 min"),
        (150, "about 2 h 30 min"),
    ],
)
def test_minutes_in_words(minutes, words):
    assert in_time(minutes) == words
