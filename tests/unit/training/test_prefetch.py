from types import SimpleNamespace

import pytest
import torch

from ssd.common.errors import UserError
from ssd.structures import Batch
from ssd.training.prefetch import prefetch

CPU = torch.device("cpu")


@pytest.fixture
def sample_of(pack):
    """A pack of one image of a single value."""

    def sample(value, problems=()):
        made = pack([torch.full((4, 4, 3), value, dtype=torch.uint8).numpy()], [[]])
        made.image_ids[:], made.problems[:] = [f"image{value}"], problems
        return made

    return sample


def as_batches(samples):
    return [
        Batch(
            packed.pixels.float().view(1, 4, 4, 3).permute(0, 3, 1, 2),
            packed.boxes,
            packed.labels,
            packed.image_ids,
        )
        for packed in samples
    ]


def test_steps_come_in_order_with_their_problems(sample_of):
    def steps():
        yield [sample_of(1), sample_of(2, ["a: empty"])]
        yield []
        yield [sample_of(3, ["b: cut", "c: empty"])]

    found = list(prefetch(steps(), as_batches, CPU))
    ids = [[batch.image_ids for batch in ready.batches] for ready in found]
    assert ids == [[["image1"], ["image2"]], [], [["image3"]]]
    assert [ready.problems for ready in found] == [["a: empty"], [], ["b: cut", "c: empty"]]
    assert [float(batch.images.mean()) for ready in found for batch in ready.batches] == [1, 2, 3]


def test_waiting_is_for_the_images_and_not_for_the_augmentation(sample_of, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(
        "ssd.training.prefetch.time", SimpleNamespace(perf_counter=lambda: clock[0])
    )

    def steps():
        for value in (1, 2, 3):
            clock[0] += value
            yield [sample_of(value), sample_of(value)]

    def slowly(samples):
        clock[0] += 100
        return as_batches(samples)

    assert [ready.waited for ready in prefetch(steps(), slowly, CPU)] == [1, 2, 3]


def test_closing_closes_the_steps_and_nothing_is_taken_beyond_what_was_asked_for(sample_of):
    events = []

    def steps():
        try:
            for value in range(9):
                events.append(value)
                yield [sample_of(value)]
        finally:
            events.append("closed")

    ready = prefetch(steps(), as_batches, CPU)
    next(ready), next(ready)
    ready.close()
    assert events == [0, 1, "closed"]


def test_an_error_comes_in_its_turn(sample_of):
    def steps():
        yield [sample_of(1)]
        raise UserError("none is readable")

    ready = prefetch(steps(), as_batches, CPU)
    assert next(ready).batches[0].image_ids == ["image1"]
    with pytest.raises(UserError, match="none is readable"):
        next(ready)
