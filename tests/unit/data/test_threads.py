import time

import pytest

from ssd.data import threads
from ssd.data.threads import PART, in_threads


@pytest.mark.parametrize("count", [0, 1, PART, 3 * PART + 1])
def test_results_come_in_order(count):
    def slower_at_first(item):
        time.sleep(0.001 * (item < PART))
        return -item

    assert in_threads(slower_at_first, range(count), 4, "x") == [-item for item in range(count)]


def test_an_interrupt_does_not_wait_for_what_is_left(monkeypatch):
    """Every thread ends with the item that it has begun, not with its part of them."""
    begun = []

    def work(item):
        begun.append(item)
        if item == 0:
            raise KeyboardInterrupt
        time.sleep(0.01)

    monkeypatch.setattr(threads, "PART", 50)
    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(1000), 4, "x")
    assert len(begun) < 100
