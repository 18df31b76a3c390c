import pytest

from ssd.common.errors import UserError
from ssd.data.stand_in import first_readable

BROKEN = {1, 3, 4}


def read(index):
    if index in BROKEN:
        raise UserError(f"{index} is broken")
    return str(index)


@pytest.mark.parametrize("wanted", range(5))
def test_it_is_the_next_readable_one_and_the_first_follows_the_last(wanted):
    order = [(wanted + step) % 5 for step in range(5)]
    after = next(index for index in order if index not in BROKEN)
    passed = order[: order.index(after)]
    told = [f"{index} is broken" for index in passed]
    assert first_readable(wanted, 5, read) == (after, str(after), told)


def test_none_is_readable():
    with pytest.raises(UserError, match="none of 1 image is readable; 1 is broken"):
        first_readable(0, 1, lambda _: read(1))
