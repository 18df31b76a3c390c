"""Steps as CUDA graphs, and compiled, on a CUDA device: `pytest -m gpu tests/gpu`."""

import warnings

import pytest
import torch

from benchmarks.waits import waits
from ssd.common.graph import Graphs
from ssd.common.tensors import tensors_in
from ssd.config import ModelConfig, OptimizerConfig
from ssd.model.ssd import build_model
from ssd.structures import Batch
from ssd.training.average import MovingAverage
from ssd.training.compiled import compile_step
from ssd.training.optimizer import build_optimizer
from ssd.training.step import StepSettings, TrainState, train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

CUDA = torch.device("cuda")
SIZE, IMAGES, CLASSES = 96, 8, 4
LARGE = 300  # the only size of ResNet-50, and one of VGG16's two


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def new(backbone="ssd7", optimizer="sgd", dtype=torch.bfloat16, size=SIZE):
    torch.manual_seed(1)
    model = build_model(ModelConfig(backbone, size), CLASSES)
    model.to(CUDA, memory_format=torch.channels_last)
    scaler = torch.amp.GradScaler("cuda", enabled=dtype == torch.float16, init_scale=2.0**10)
    config = OptimizerConfig(name=optimizer, bias_lr_factor=2.0)
    state = TrainState(model, build_optimizer(model, config), scaler, MovingAverage(model, 0.99))
    rates = torch.linspace(0.01, 0.001, 300, dtype=torch.float64, device=CUDA)
    return state, StepSettings(model.default_boxes, rates, clip_norm=5.0, dtype=dtype)


def batch(step, images=IMAGES, broken=False, size=SIZE):
    generator = torch.Generator().manual_seed(step)
    pixels = torch.randn(images, 3, size, size, generator=generator)
    if broken:
        pixels[0, 0, 0, 0] = torch.nan
    corners = 0.6 * torch.rand(images, 8, 2, generator=generator)
    sides = 0.1 + 0.3 * torch.rand(images, 8, 2, generator=generator)
    labels = torch.randint(1, CLASSES, (images, 8), generator=generator)
    boxes = torch.cat([corners, corners + sides], -1)
    pixels = pixels.to(CUDA, memory_format=torch.channels_last)
    return Batch(pixels, boxes.to(CUDA), labels.to(CUDA), [])


def say(line):
    raise AssertionError(line)


def graphs(state, settings):
    return Graphs(lambda batches: train_step(state, batches, settings), say)


def everything(state):
    average = {} if state.average is None else state.average.model.state_dict()
    momenta = state.optimizer.state_dict()["state"]
    return tensors_in([state.model.state_dict(), momenta, average, state.updates])


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_graph_repeats_the_plain_step_to_the_bit(deterministic, dtype, optimizer, micro_batches):
    """Also a skipped step inside it, and a short one."""
    (plain, settings), (replayed, same) = (new(optimizer=optimizer, dtype=dtype) for _ in range(2))
    run = graphs(replayed, same)
    for step in range(12):
        sizes = [3] if step in (4, 9) else [IMAGES] * micro_batches
        batches = [batch(10 * step + n, size, step == 7) for n, size in enumerate(sizes)]
        expected, found = train_step(plain, batches, settings), run(batches)
        for ours, theirs in zip(tensors_in(found), tensors_in(expected), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
        assert bool(found.skipped) == (step == 7)
        assert all(map(torch.equal, everything(plain), everything(replayed))), step


@pytest.mark.parametrize(
    ("backbone", "size"), [("ssd7", SIZE), ("vgg16_bn", LARGE), ("resnet50", LARGE)]
)
def test_the_curve_of_200_replayed_steps_is_that_of_plain_ones(deterministic, backbone, size):
    curves = []
    for as_graph in (False, True):
        state, settings = new(backbone, size=size)
        run = graphs(state, settings)
        if not as_graph:
            run = lambda batches, state=state, settings=settings: train_step(  # noqa: E731
                state, batches, settings
            )
        figures = [run([batch(step % 20, size=size)]) for step in range(200)]
        curves.append(torch.stack([f.sums.loss_under["step_positives"] for f in figures]))
    plain, replayed = curves
    assert torch.equal(replayed, plain)
    assert plain[-20:].mean() < 0.7 * plain[:20].mean()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_the_host_waits_for_nothing_in_a_step(dtype):
    state, settings = new(dtype=dtype)
    batches = [batch(0), batch(1)]
    for _ in range(3):
        train_step(state, batches, settings)
    assert waits(lambda: train_step(state, batches, settings)) == []
    run = graphs(state, settings)
    for _ in range(3):
        run(batches)
    assert waits(lambda: run(batches)) == []


def test_after_a_capture_that_fails_steps_run_plainly_and_memory_is_given_back():
    told = []
    run = Graphs(lambda values: values * values.sum().item(), told.append)  # reads from the device
    values, stream = torch.ones(4, device=CUDA), torch.cuda.current_stream()
    assert [run(values).tolist() for _ in range(3)] == [[4.0] * 4] * 3
    assert len(told) == 1
    assert torch.cuda.current_stream() == stream
    side = torch.cuda.Stream()
    before = torch.cuda.memory_reserved()
    for _ in range(8):  # as a batch that is made on one stream and read on another
        part = torch.empty(2**28, dtype=torch.uint8, device=CUDA)
        part.record_stream(side)
        del part
        torch.cuda.synchronize()
    assert torch.cuda.memory_reserved() - before < 2 * 2**28


def test_a_compiled_step_follows_the_plain_one_also_as_a_graph():
    (plain, settings), (compiled, same) = (new("vgg16", size=LARGE) for _ in range(2))
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, which differ from version to version
        compile_step(compiled, same, torch.Size([IMAGES, 3, LARGE, LARGE]), told.append)
        assert told[-1].startswith("compiled the model in"), told
        run = graphs(compiled, same)
        for step in range(6):
            batches = [batch(step, size=LARGE)]
            expected, found = train_step(plain, batches, settings), run(batches)
            for name, value in expected.sums.by_name().items():
                torch.testing.assert_close(found.sums.by_name()[name], value, rtol=0.05, atol=0.1)
            torch.testing.assert_close(found.grad_norm, expected.grad_norm, rtol=0.1, atol=0)
