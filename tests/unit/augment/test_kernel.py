"""The kernel under Triton's interpreter, beside `pixels.py`, and compiled for GPUs without one.

The interpreter has to be chosen before Triton is imported, so it runs in a process of its own: all
jobs of a test in one, because it takes seconds to start.
"""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.version import Version

from ssd.augment.mix import draw_mixed_plan
from ssd.augment.pixels import apply_plan
from ssd.augment.plan import Plan, identity_plan
from ssd.config import AugmentConfig

triton = pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from ssd.augment import kernel  # noqa: E402

MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
VARIANTS = list(product((True, False), repeat=2))  # antialias, colours_last
# crop, expansion, flip, grey, brightness, contrast, contrast first, saturation, hue
COMBINATIONS = list(
    product(
        (False, True),
        (1.0, 2.3, 4.0),
        (False, True),
        (False, True),
        (0.0, -25.5, 30.0),
        (1.0, 0.6, 1.45),
        (False, True),
        (1.0, 0.55, 1.5),
        (0.0, -17.5, 16.0),
    )
)


def interpreted(folder, jobs):
    """The images of each job, {name: (tile, arguments of `apply_plan`)}, made by the kernel."""
    torch.save(jobs, folder / "jobs")
    script = Path(__file__).with_name("run_kernel.py")
    subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", script, folder / "jobs", folder / "images"],
        check=True,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    return torch.load(folder / "images")


def assert_equal_to_pixels(images, jobs):
    for name, (_, arguments) in jobs.items():
        expected = apply_plan(*arguments)
        assert images[name].is_contiguous(memory_format=torch.channels_last)
        difference = (images[name] - expected).abs().amax((1, 2, 3))
        assert difference.max() < 1e-4, f"{name}: {difference.tolist()}"


def random_image(rng, height, width, grey=False):
    image = rng.integers(0, 256, (height, width, 1 if grey else 3), dtype=np.uint8)
    return np.broadcast_to(image, (height, width, 3)).copy()


def combined(pack, combinations, size) -> tuple:
    """Samples and a plan with an image for each combination, about as large as the output."""
    rng = np.random.default_rng(0)
    images, windows = [], []
    for crop, expansion, _, grey, *_ in combinations:
        height, width = (max(1, int(side)) for side in rng.uniform(0.6, 2, 2) * size / expansion)
        images.append(random_image(rng, height, width, grey))
        canvas = np.floor([width * expansion, height * expansion])
        corner = -np.floor(rng.uniform(0, 1, 2) * (canvas - [width, height]))
        far = corner + canvas
        if crop:
            corner += np.floor(rng.uniform(0, 0.4, 2) * canvas)
            far -= np.floor(rng.uniform(0, 0.4, 2) * canvas)
        windows.append((*corner.astype(int), *far.astype(int)))
    samples = pack(images, [[]] * len(images))
    columns = [torch.tensor(column) for column in zip(*combinations, strict=True)]
    _, _, flip, _, brightness, contrast, contrast_first, saturation, hue = columns
    plan = replace(
        identity_plan(samples),
        windows=torch.tensor(np.array(windows)),
        flip=flip,
        brightness=brightness,
        contrast=contrast,
        contrast_first=contrast_first,
        saturation=saturation,
        hue=hue,
    )
    return samples, plan


def plan_of_sizes(pack, sizes) -> tuple:
    """Samples of the given (height, width) and a plan that changes all their colours."""
    rng = np.random.default_rng(1)
    samples = pack([random_image(rng, *size) for size in sizes], [[]] * len(sizes))
    steps = {"brightness": 20.0, "contrast": 1.3, "saturation": 1.4, "hue": -12.0}
    changes = {name: torch.full((len(sizes),), value) for name, value in steps.items()}
    return samples, replace(identity_plan(samples), **changes)


def in_window(samples, plan: Plan, window) -> tuple:
    return samples, replace(plan, windows=torch.tensor([window] * len(plan.flip)))


needs_interpreter = pytest.mark.skipif(
    Version(triton.__version__) < Version("3.7") and Version(np.__version__) >= Version("2.4"),
    reason="the interpreter of Triton 3.6 cannot loop with NumPy 2.4",
)


# Every 103rd of the 3,888 combinations holds every pair of settings, and 94 % of the triples.
@needs_interpreter
@pytest.mark.parametrize("step", [103, pytest.param(5, marks=pytest.mark.slow)])
def test_combinations_equal_pixels(pack, tmp_path, step):
    size, inputs = 16, combined(pack, COMBINATIONS[::step], 16)
    jobs = {
        f"antialias={variant[0]}, colours_last={variant[1]}": (
            (size, size),
            (*inputs, size, MEAN, STD, *variant),
        )
        for variant in VARIANTS
    }
    assert_equal_to_pixels(interpreted(tmp_path, jobs), jobs)


@needs_interpreter
def test_combinations_of_another_height_than_width_equal_pixels(pack, tmp_path):
    inputs = combined(pack, COMBINATIONS[::211], 16)
    jobs = {
        f"{size}, {variant}": ((16, 16), (*inputs, size, MEAN, STD, *variant))
        for size, variant in zip([(12, 25), (31, 9)] * 2, VARIANTS, strict=True)
    }
    assert_equal_to_pixels(interpreted(tmp_path, jobs), jobs)


@needs_interpreter
def test_sizes_tiles_and_types(pack, tmp_path):
    small = plan_of_sizes(pack, [(1, 1), (1, 9), (7, 1), (5, 400), (131, 37), (60, 60)])
    large = plan_of_sizes(pack, [(2000, 3000)])
    expanded = in_window(*plan_of_sizes(pack, [(23, 31)]), (-13, -40, 71, 70))
    beside = in_window(*plan_of_sizes(pack, [(20, 20)]), (-50, 3, -10, 15))
    few = plan_of_sizes(pack, [(5, 4), (1, 3)])
    rest = MEAN, STD, True, False
    jobs = {
        "small, antialiased": ((64, 64), (*small, 60, MEAN, STD, True)),
        "small": ((32, 32), (*small, 31, MEAN, STD, False)),
        "to one pixel": ((1, 1), (*few, 1, *rest)),
        "large": ((32, 32), (*large, 24, MEAN, STD, False)),
        "large, shrunk": ((256, 256), (*large, 250, MEAN, STD, True, True)),
        "large, cropped": ((32, 32), (*in_window(*large, (2900, 1930, 3000, 2000)), 24, *rest)),
        "wide": ((8, 32), (*small, (20, 50), MEAN, STD, True)),
        "high": ((16, 16), (*expanded, [45, 21], MEAN, STD, False, True)),
        "tiles": (kernel.TILE, (*expanded, 40, *rest)),
        "beside the image": ((16, 16), (*beside, 16, *rest)),
        "bf16": ((16, 16), (*few, 16, *rest, torch.bfloat16)),
        "fp16": ((16, 16), (*few, 16, *rest, torch.float16)),
    }
    images = interpreted(tmp_path, jobs)
    types = {name: images.pop(name) for name in ("bf16", "fp16")}
    assert_equal_to_pixels(images, {name: jobs[name] for name in images})
    assert not images["beside the image"].any()
    for name, found in types.items():
        expected = apply_plan(*jobs[name][1])
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-4)


@needs_interpreter
def test_mosaic_and_mixup(pack, tmp_path):
    rng, size = np.random.default_rng(2), 16
    sizes = [(1, 1), (3, 40), *map(tuple, rng.integers(6, 30, (5, 2)))]
    samples = pack([random_image(rng, *each) for each in sizes], [[(0, 0, 3, 3)]] * len(sizes))
    kinds = {"both": (0.6, 0.5), "mixup": (0, 1), "mosaic": (1, 0)}
    plans = {
        name: draw_mixed_plan(
            samples, 4, AugmentConfig(mosaic_probability=mosaic, mixup_probability=mixup)
        )
        for name, (mosaic, mixup) in kinds.items()
    }
    jobs = {
        f"{name}, antialias={variant[0]}, colours_last={variant[1]}": (
            (size, size),
            (samples, plan, size, MEAN, STD, *variant),
        )
        for (name, plan), variant in zip(plans.items(), VARIANTS, strict=False)
    }
    assert_equal_to_pixels(interpreted(tmp_path, jobs), jobs)


@pytest.mark.parametrize("capability", [80, 90])
def test_every_variant_compiles_for_a_gpu(capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    inputs = dict.fromkeys(("offsets", "sizes", "windows"), "*i64")
    inputs |= dict.fromkeys(("brightness", "contrast", "saturation", "hue"), "*fp32")
    inputs |= {"pixels": "*u8", "flip": "*u1", "contrast_first": "*u1"}
    inputs |= {"sources": "*i64", "weights": "*fp32"}
    variants = [*product(VARIANTS, ("fp32", "bf16", "fp16"), (1,)), (VARIANTS[1], "fp32", 5)]
    for (antialias, colours_last), dtype, views in variants:
        constants = {
            "SIZE": (300, 200),
            "MEAN": MEAN,
            "STD": STD,
            "ANTIALIAS": antialias,
            "COLOURS_LAST": colours_last,
            "VIEWS": views,
            "TILE": kernel.TILE,
        }
        signature = inputs | {"images": f"*{dtype}"} | dict.fromkeys(constants, "constexpr")
        compiled = triton.compile(
            ASTSource(kernel.augment_tile, signature, constants),
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": kernel.WARPS},
        )
        assert f".target sm_{capability}" in compiled.asm["ptx"]
        assert compiled.asm["cubin"].startswith(b"\x7fELF")
