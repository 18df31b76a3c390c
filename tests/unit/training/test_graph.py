"""A step as a graph: the plain step, replayed; `tests/gpu` repeats this with real CUDA graphs."""

import copy
import sys
from dataclasses import replace

import pytest
import torch

from ssd.common.graph import MOST_GRAPHS, Graphs
from ssd.common.tensors import tensors_in
from ssd.structures import Batch
from ssd.training.average import MovingAverage
from ssd.training.step import TrainState, train_step
from tests.unit.tape import tape_capture
from tests.unit.training.tiny import new_state, settings, split

RATES = torch.linspace(0.1, 0.01, 20, dtype=torch.float64)


def say(line):
    raise AssertionError(line)


def graphed(state, used):
    return Graphs(lambda batches: train_step(state, batches, used), say, tape_capture)


def everything(state: TrainState):
    """All that a step changes, as one list of tensors."""
    return tensors_in(
        [
            state.model.state_dict(),
            state.optimizer.state_dict()["state"],
            {} if state.average is None else state.average.model.state_dict(),
            state.updates,
            torch.tensor(state.scaler.get_scale()),
        ]
    )


def new(kind):
    state = new_state(batch_norm=True)
    if "average" in kind:
        state.average = MovingAverage(state.model, 0.9)
    if "fp16" in kind:
        state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    if "adamw" in kind:
        parameters = state.model.parameters()
        state.optimizer = torch.optim.AdamW([{"params": parameters, "lr_factor": 2.0}], fused=True)
    return state


def batches_of_steps(images: Batch, sizes):
    """Eight steps of other images in micro-batches of these sizes, the sixth with a NaN."""
    steps = []
    for step in range(8):
        torch.manual_seed(step)
        order = torch.randperm(12)
        pixels = images.images[order].clone()
        if step == 5:
            pixels[2, 0, 0, 0] = torch.nan
        steps.append(
            split(Batch(pixels, images.boxes[order], images.labels[order], images.image_ids), sizes)
        )
    return steps


@pytest.mark.parametrize("sizes", [(12,), (4, 4, 4), (5, 5, 2)])
@pytest.mark.parametrize("kind", ["sgd", "average", "fp16 average", "adamw average", "clipped"])
def test_a_graph_repeats_the_plain_step_to_the_bit(twelve_images, kind, sizes):
    plain, replayed = new(kind), new(kind)
    changes = {"clip_norm": 0.5 if kind == "clipped" else None}
    used = [replace(settings(each, **changes), learning_rates=RATES) for each in (plain, replayed)]
    run = graphed(replayed, used[1])
    assert all(map(torch.equal, everything(plain), everything(replayed)))
    for step, batches in enumerate(batches_of_steps(twelve_images, sizes)):
        expected, found = train_step(plain, batches, used[0]), run(batches)
        for ours, theirs in zip(tensors_in(found), tensors_in(expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
        assert bool(found.skipped) == (step == 5)
        assert all(map(torch.equal, everything(plain), everything(replayed))), step
    assert int(replayed.updates) == 7
    assert found.lr == RATES[6]


def test_the_stand_in_sees_a_number_that_the_capture_froze(twelve_images):
    """The test of the test: a step that took its rate from the host would not follow it."""
    state, calls = new("sgd"), iter(range(1, 100))

    def frozen(batches):
        used = settings(state, lr=0.1 / next(calls))
        return train_step(state, batches, used)

    run = Graphs(frozen, say, tape_capture)
    assert [float(run([twelve_images]).lr) for _ in range(4)] == [0.1, 0.05, 0.05, 0.05]


def test_a_step_reads_nothing_back(twelve_images):
    """Every operation of a step passes the tape, which refuses those that read."""
    state = new("fp16 average")
    used = settings(state, clip_norm=0.5)
    tape_capture(lambda: train_step(state, [twelve_images], used))
    with pytest.raises(RuntimeError, match="reads from the device"):
        tape_capture(lambda: bool(train_step(state, [twelve_images], used).skipped))


def test_a_capture_changes_nothing(twelve_images):
    state = new("average")
    train_step(state, [twelve_images], settings(state))
    before = copy.deepcopy(everything(state))
    tape_capture(lambda: train_step(state, [twelve_images], settings(state)))
    assert all(map(torch.equal, before, everything(state)))


def test_each_shape_runs_plainly_once_and_then_has_a_graph():
    plain, captured = [], []

    def twice(value):
        plain.append(len(value))
        return {"twice": [2 * value]}

    def capture(function):
        captured.append(True)
        return tape_capture(function)

    run = Graphs(twice, say, capture)
    for size in [3, 3, 4, 3, 4, 4]:
        value = torch.rand(size)
        assert torch.equal(run(value)["twice"][0], 2 * value)
    assert plain == [3, 3, 4, 4]  # once plainly and once in the capture
    assert len(captured) == 2


def test_no_later_run_changes_a_result():
    run = Graphs(lambda value: 2 * value, say, tape_capture)
    results = [run(torch.full((2,), float(number))) for number in range(5)]
    assert [float(result[0]) for result in results] == [0, 2, 4, 6, 8]


def test_the_number_of_graphs_is_limited():
    run = Graphs(lambda value: 2 * value, say, tape_capture)
    for size in [*range(1, MOST_GRAPHS + 5), *range(1, MOST_GRAPHS + 5)]:
        assert torch.equal(run(torch.ones(size)), torch.full((size,), 2.0))
    assert len(run._graphs) == MOST_GRAPHS


def test_without_a_graph_a_line_says_so_once_and_all_steps_are_plain():
    lines, errors = [], []

    def capture(function):
        raise RuntimeError("CUDA error:\n  operation not permitted")

    def twice(value):
        errors.append(sys.exc_info()[1])  # one would keep the memory of the unfinished run
        return 2 * value

    run = Graphs(twice, lines.append, capture)
    assert [float(run(torch.ones(()) * number)) for number in range(4)] == [0, 2, 4, 6]
    assert lines == ["no CUDA graph, so steps are slower: CUDA error: operation not permitted"]
    assert errors == [None] * 4
