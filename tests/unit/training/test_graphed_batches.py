import pytest
import torch

from ssd.augment.plan import draw_plan
from ssd.config import AugmentConfig
from ssd.structures import Batch
from ssd.training.graphed_batches import GraphedBatches, padded_count
from tests.unit.tape import tape_capture

CPU = torch.device("cpu")
BYTES = torch.arange(12)  # of each image that a batch shows


def make_batch(samples):
    """The plan's boxes, and the first bytes of each image."""
    plan = draw_plan(samples, 5, AugmentConfig())
    images = samples.pixels.take(samples.offsets[:, None] + BYTES).float()
    return Batch(images, plan.boxes, plan.labels, samples.image_ids)


@pytest.fixture
def graphed(monkeypatch):
    monkeypatch.setattr("ssd.common.graph.CudaCapture", lambda: tape_capture)
    return GraphedBatches(make_batch, CPU, print)


def steps(pack, sizes_of_steps):
    """Steps of one micro-batch of three images of these sizes, with 0 to 10 objects each."""
    generator = torch.Generator().manual_seed(4)
    for number, size in enumerate(sizes_of_steps):
        pixels = torch.randint(0, 256, (3, size, size + 1, 3), generator=generator).byte().numpy()
        counts = torch.randint(0, 11, (3,), generator=generator).tolist()
        objects = [[(float(i), 1.0, i + 5.0, size - 1.0) for i in range(count)] for count in counts]
        packed = pack(list(pixels), objects)
        packed.epochs[:] = number
        yield [packed]


def test_graphs_make_the_same_batches_of_images_of_any_size(pack, graphed, capsys):
    sizes = [20, 40, 30, 90, 20, 21, 22, 90, 91, 50]  # grows the buffer twice
    for samples in steps(pack, sizes):
        (expected,), (found,) = [make_batch(samples[0])], graphed(samples)
        count = expected.boxes.shape[1]
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.boxes[:, :count], expected.boxes)
        assert torch.equal(found.labels[:, :count], expected.labels)
        assert not found.boxes[:, count:].any()
        assert not found.labels[:, count:].any()
        assert found.boxes.shape[1] in (8, 12)
        assert found.image_ids == samples[0].image_ids
    assert capsys.readouterr().out == ""


def test_all_micro_batches_of_a_step_have_as_many_objects(pack, graphed):
    few, many = (next(steps(pack, [20])) for _ in range(2))
    many = [pack([*torch.zeros(1, 20, 20, 3).byte().numpy()], [[(1.0, 1.0, 9.0, 9.0)] * 30])]
    assert [batch.boxes.shape[1] for batch in graphed(few + many)] == [32, 32]


def test_the_padded_numbers_are_few_and_at_most_half_as_large_again():
    numbers = [padded_count(objects) for objects in range(1, 1001)]
    assert sorted(set(numbers)) == [
        8,
        12,
        16,
        24,
        32,
        48,
        64,
        96,
        128,
        192,
        256,
        384,
        512,
        768,
        1024,
    ]
    for objects, padded in enumerate(numbers, 1):
        assert objects <= padded < max(9, 1.5 * objects)
