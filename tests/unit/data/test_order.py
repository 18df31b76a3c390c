from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.data.order import Order

orders = st.builds(
    Order,
    num_images=st.integers(1, 60),
    batch_size=st.integers(1, 5),
    accumulate=st.integers(1, 4),
    world_size=st.integers(1, 4),
    seed=st.integers(0, 2**63 - 1),
    drop_last=st.just(False),
)


def undealt(order: Order, step: int) -> list[int]:
    """The step's images in their global order, put together from all ranks."""
    ranks = [order.micro_batches(step, rank) for rank in range(order.world_size)]
    assert {len(batches) for batches in ranks} == {order.num_micro_batches(step)}
    images = []
    for shares in zip(*ranks, strict=True):
        for row in zip_longest(*shares):
            images += [image for image in row if image is not None]
    return images


def epoch_images(order: Order, epoch: int) -> list[int]:
    first = epoch * order.steps_per_epoch
    steps = range(first, first + order.steps_per_epoch)
    return [image for step in steps for image in undealt(order, step)]


@given(orders, st.integers(0, 3))
def test_every_image_exactly_once_an_epoch(order, epoch):
    assert sorted(epoch_images(order, epoch)) == list(range(order.num_images))


@given(orders, st.integers(0, 100))
def test_sizes_of_micro_batches(order, step):
    for rank in range(order.world_size):
        batches = order.micro_batches(step, rank)
        assert len(batches) <= order.accumulate
        assert all(len(batch) == order.batch_size for batch in batches[:-1])
        assert len(batches[-1]) <= order.batch_size
        assert len(batches[-1]) <= len(order.micro_batches(step, 0)[-1])


@given(st.integers(1, 60), st.integers(0, 9), st.integers(0, 20))
def test_a_step_does_not_depend_on_how_it_is_split(num_images, seed, step):
    def split(batch_size, accumulate, world_size):
        order = Order(num_images, batch_size, accumulate, world_size, seed, drop_last=False)
        return undealt(order, step)

    whole = split(12, 1, 1)
    assert split(6, 1, 2) == split(3, 1, 4) == split(2, 3, 2) == split(1, 12, 1) == whole


@given(orders, st.integers(0, 50))
def test_equal_arguments_give_equal_order(order, step):
    twin = Order(**vars(order))
    assert twin.micro_batches(step, 0) == order.micro_batches(step, 0)


@given(orders, st.integers(0, 3))
def test_drop_last_leaves_out_only_the_short_step(order, epoch):
    full = order.num_images // order.images_per_step
    if full == 0:
        return
    dropping = Order(**{**vars(order), "drop_last": True})
    assert dropping.steps_per_epoch == full
    kept = epoch_images(dropping, epoch)
    assert kept == epoch_images(order, epoch)[: full * order.images_per_step]


def test_epochs_and_seeds_shuffle_differently():
    order = Order(100, 10, 1, 1, 0, drop_last=False)
    other = Order(100, 10, 1, 1, 1, drop_last=False)
    runs = [epoch_images(order, 0), epoch_images(order, 1), epoch_images(other, 0), [*range(100)]]
    assert len({tuple(run) for run in runs}) == 4


def test_position_counts_over_all_epochs():
    order = Order(10, 4, 1, 1, 0, drop_last=False)
    assert order.steps_per_epoch == 3
    assert [order.position(step) for step in (0, 2, 3, 7)] == [(0, 0), (0, 2), (1, 0), (2, 1)]


def test_a_rank_may_get_nothing_of_a_short_micro_batch():
    order = Order(9, 2, 2, 2, 0, drop_last=False)
    assert [len(batch) for batch in order.micro_batches(1, 0)] == [1]
    assert [len(batch) for batch in order.micro_batches(1, 1)] == [0]


def test_the_order_is_the_same_on_every_machine():
    # numpy promises raw Philox numbers to be stable over its versions (NEP 19)
    stored = [7, 1, 9, 6, 0, 4, 2, 8, 3, 5]
    assert epoch_images(Order(10, 10, 1, 1, 7, drop_last=False), 3) == stored


def test_no_step_at_all():
    with pytest.raises(UserError, match=r"7 training images do not fill a step of 8 images"):
        Order(7, 2, 2, 2, 0, drop_last=True)
    with pytest.raises(UserError, match=r"^1 training image does not fill a step of 2 images"):
        Order(1, 2, 1, 1, 0, drop_last=True)
    with pytest.raises(UserError, match="no training images"):
        Order(0, 2, 2, 2, 0, drop_last=False)
