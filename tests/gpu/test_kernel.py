"""The kernel on a CUDA device, beside `pixels.py` on the CPU: `pytest -m gpu tests/gpu`."""

from dataclasses import fields
from itertools import product

import numpy as np
import pytest
import torch

from ssd.augment.batch import Preprocess
from ssd.augment.mix import MixedPlan, draw_mixed_plan
from ssd.augment.pixels import apply_plan
from ssd.augment.plan import Plan, draw_plan, identity_plan
from ssd.config import AugmentConfig
from ssd.structures import to_device

pytestmark = pytest.mark.gpu

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CUDA = torch.device("cuda")
MIXED = AugmentConfig(mosaic_probability=0.5, mixup_probability=0.5)
SIZES = [(1, 1), (1, 700), (900, 1), (2, 3), (2000, 3000), (3000, 2000), (37, 53), (1080, 1920)]


@pytest.fixture(scope="module")
def samples(pack):
    """128 images of many sizes, a quarter of them grey, with up to four objects each."""
    rng = np.random.default_rng(0)
    sizes = SIZES + [tuple(rng.integers(40, 800, 2)) for _ in range(128 - len(SIZES))]
    images, boxes = [], []
    for index, (height, width) in enumerate(sizes):
        channels = 1 if index % 4 == 0 else 3
        image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        images.append(np.broadcast_to(image, (height, width, 3)).copy())
        corners = np.sort(rng.uniform(0, 1, (index % 5, 2, 2)), 1).reshape(-1, 4)
        boxes.append(corners * (width, height, width, height))
    return pack(images, boxes, keys=rng.integers(0, 2**32, len(sizes)).tolist())


@pytest.fixture(scope="module")
def on_gpu(samples):
    return to_device(samples, CUDA)


@pytest.mark.parametrize(("antialias", "colours_last"), list(product((True, False), repeat=2)))
@pytest.mark.parametrize("size", [300, 321, 512, (256, 400)])
def test_the_kernel_equals_pixels(samples, on_gpu, antialias, colours_last, size):
    from ssd.augment import kernel

    plans = [draw_plan(samples, seed, AugmentConfig()) for seed in range(2)]
    settings = size, MEAN, STD, antialias, colours_last
    for plan in (*plans, draw_mixed_plan(samples, 0, MIXED)):
        expected = apply_plan(samples, plan, *settings)
        found = kernel.apply_plan(on_gpu, to_device(plan, CUDA), *settings)
        assert found.is_contiguous(memory_format=torch.channels_last)
        difference = (found.cpu() - expected).abs().amax((1, 2, 3))
        assert difference.max() < 1e-3, difference.tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(on_gpu, dtype):
    from ssd.augment import kernel

    plan = draw_plan(on_gpu, 0, AugmentConfig())
    settings = 300, MEAN, STD, True, False
    full = kernel.apply_plan(on_gpu, plan, *settings)
    found = kernel.apply_plan(on_gpu, plan, *settings, dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found, full.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_a_mixed_plan_is_the_same_to_the_bit_but_for_padding_on_cpu_and_gpu(samples, on_gpu):
    for seed in range(20):
        cpu, gpu = (draw_mixed_plan(each, seed, MIXED, 1) for each in (samples, on_gpu))
        gpu = to_device(gpu, torch.device("cpu"))
        for field in fields(MixedPlan):
            if field.name not in ("boxes", "labels"):
                assert torch.equal(getattr(cpu, field.name), getattr(gpu, field.name)), field.name
        is_cpu, is_gpu = cpu.labels > 0, gpu.labels > 0
        assert torch.equal(is_cpu.sum(1), is_gpu.sum(1))
        assert torch.equal(cpu.labels[is_cpu], gpu.labels[is_gpu])
        assert torch.equal(cpu.boxes[is_cpu], gpu.boxes[is_gpu])


def test_a_plan_is_the_same_to_the_bit_on_cpu_and_gpu(samples, on_gpu):
    for seed in range(20):
        for plans in (
            [draw_plan(each, seed, AugmentConfig()) for each in (samples, on_gpu)],
            [identity_plan(each) for each in (samples, on_gpu)],
        ):
            for field in fields(Plan):
                cpu, gpu = (getattr(plan, field.name) for plan in plans)
                assert torch.equal(cpu, gpu.cpu()), field.name


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("photometric_after_resize", [True, False])
def test_a_batch_is_made_without_waiting_for_the_device(samples, photometric_after_resize):
    config = AugmentConfig(photometric_after_resize=photometric_after_resize)
    preprocess = Preprocess(300, MEAN, STD, True, photometric_after_resize)
    pinned = samples.pin_memory()
    for mode in ("default", "error"):  # the first round compiles
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode(mode)
        try:
            on_device = to_device(pinned, CUDA)
            training = preprocess.training_batch(on_device, 0, config)
            mixed = preprocess.training_batch(on_device, 0, MIXED, 1)
            evaluation = preprocess.evaluation_batch(on_device)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for batch in (training, mixed, evaluation):
        assert batch.images.is_cuda
        assert batch.images.isfinite().all()


def test_results_stand_on_the_device_of_the_samples(samples):
    """Also where it is not the current one."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    other = torch.device("cuda", 1)
    preprocess = Preprocess(64, MEAN, STD, True)
    first, second = (
        preprocess.evaluation_batch(to_device(samples, device)).images for device in (CUDA, other)
    )
    assert second.device == other
    assert torch.equal(first.cpu(), second.cpu())


def test_without_a_compiler_the_same_batch_comes_from_the_cpu(samples, on_gpu, monkeypatch):
    monkeypatch.setattr("ssd.augment.batch.finds_compiler", lambda: False)
    preprocess = Preprocess(300, MEAN, STD, antialias=True)
    expected = preprocess.training_batch(samples, 0, AugmentConfig())
    found = preprocess.training_batch(on_gpu, 0, AugmentConfig())
    assert found.images.is_cuda
    assert found.images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.images.cpu(), expected.images)
