"""Postprocessing with fixed shapes, its kernel under Triton's interpreter or compiled for a GPU.

The interpreter has to be chosen before Triton is imported, so it runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.version import Version

from ssd.config import EvaluationConfig
from ssd.detect.padded import HALF, padded_detections, pair_keys, unpad
from ssd.detect.postprocess import search
from ssd.structures import Predictions

triton = pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from ssd.detect import kernel  # noqa: E402

needs_interpreter = pytest.mark.skipif(
    Version(triton.__version__) < Version("3.7") and Version(np.__version__) >= Version("2.4"),
    reason="the interpreter of Triton 3.6 cannot loop with NumPy 2.4",
)
INFINITY = float("inf")


def padded(folder, jobs):
    """The rows of each job, {name: (block, arguments of `padded_detections`)}."""
    torch.save(jobs, folder / "jobs")
    script = Path(__file__).with_name("run_padded.py")
    subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", script, folder / "jobs", folder / "rows"],
        check=True,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    return torch.load(folder / "rows")


def assert_equal_to_search(rows, jobs):
    """To the bit; returns the number of detections in each image of each job."""
    counts = {}
    for name, (_, arguments) in jobs.items():
        found, expected = unpad(rows[name]), search(*arguments)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one.scores, other.scores), name
            assert torch.equal(one.labels, other.labels), name
            assert torch.equal(one.boxes, other.boxes), name
            assert one.labels.dtype == other.labels.dtype
        counts[name] = [len(one.scores) for one in found]
        for image, count in zip(rows[name], counts[name], strict=True):
            assert not image[count:].any(), name
    return counts


def random_boxes(count, grid=None):
    """Default boxes; on a grid of `grid` steps, many are equal."""
    boxes = torch.cat([torch.rand(count, 2), 0.05 + 0.4 * torch.rand(count, 2)], 1)
    return boxes if grid is None else (boxes * grid).ceil() / grid


def random_predictions(images, boxes, classes, steps=None):
    """Logits in steps of 1 / `steps`, so that many scores are equal, and no offsets; or any."""
    logits = 2 * torch.randn(images, boxes, classes)
    if steps is None:
        return Predictions(logits, torch.randn(images, boxes, 4))
    return Predictions((logits * steps).round() / steps, torch.zeros(images, boxes, 4))


def random_job(seed):
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    images, boxes, classes = generator.integers([1, 1, 2], [3, 32, 6]).tolist()
    steps = [None, 2, 0.5][seed % 3]
    config = EvaluationConfig(
        score_threshold=[0.0, 0.01, 0.2][generator.integers(3)],
        nms_iou=[0.1, 0.45, 0.8, 1.0][generator.integers(4)],
        top_k=int(generator.integers(1, boxes + 5)),
        max_detections=int(generator.integers(1, 60)),
    )
    predictions = random_predictions(images, boxes, classes, steps)
    grid = None if steps is None else 8
    return 2 ** int(generator.integers(2, 6)), (predictions, random_boxes(boxes, grid), config)


@needs_interpreter
@pytest.mark.parametrize("jobs", [24, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_predictions(jobs, tmp_path):
    jobs = {f"seed {seed}": random_job(seed) for seed in range(jobs)}
    counts = assert_equal_to_search(padded(tmp_path, jobs), jobs)
    assert sum(sum(each) for each in counts.values()) > 8 * len(jobs)


def special_jobs():
    boxes = random_boxes(24)
    plain = random_predictions(2, 24, 4)
    every, few = EvaluationConfig(score_threshold=0.0), EvaluationConfig(top_k=5)
    jobs = {
        "one box, one class": (16, (random_predictions(1, 1, 2), boxes[:1], every)),
        "one class": (16, (random_predictions(2, 24, 2), boxes, every)),
        "one detection": (16, (plain, boxes, EvaluationConfig(max_detections=1))),
        "all scores equal": (4, (random_predictions(2, 24, 4, 1e-9), boxes, few)),
        "bf16": (8, (Predictions(plain.logits.bfloat16(), plain.locations.half()), boxes, few)),
        "denormal": (16, (Predictions(20 * plain.logits, plain.locations), boxes, every)),
    }
    for value in (INFINITY, -INFINITY, float("nan")):
        logits, locations = plain.logits.clone(), plain.locations.clone()
        logits[:, :6, 1:3] = value
        locations[0, 4:12, 1:3] = value
        locations[1, :, 0] = value
        jobs[f"{value}"] = 8, (Predictions(logits, locations), boxes, few)
    wide = plain.locations.clone()
    wide[0, ::2, 2] = 500  # finite, but exp(0.2 · 500) is not
    jobs["too wide"] = 8, (Predictions(plain.logits, wide), boxes, few)
    in_second, nowhere = plain.logits.clone(), plain.logits.clone()
    in_second[0, :, 0] = nowhere[..., 0] = 30
    jobs["nothing in one image"] = 8, (Predictions(in_second, wide), boxes, few)
    jobs["nothing"] = 8, (Predictions(nowhere, wide), boxes, few)
    at_threshold = plain.logits.clone()
    at_threshold[:, ::3] = 0  # scores of exactly 1/4
    for name, threshold in (("at", 0.25), ("just above", np.nextafter(np.float32(0.25), 0).item())):
        config = EvaluationConfig(score_threshold=threshold, nms_iou=1.0)
        jobs[f"scores {name} the threshold"] = 8, (Predictions(at_threshold, wide), boxes, config)
    return jobs


@needs_interpreter
def test_special_predictions(tmp_path):
    jobs = special_jobs()
    counts = assert_equal_to_search(padded(tmp_path, jobs), jobs)
    assert counts["one detection"] == [1, 1]
    assert counts["nothing"] == [0, 0]
    assert counts["nothing in one image"][0] == 0 < counts["nothing in one image"][1]
    assert counts["nan"][1] == 0 < counts["nan"][0]
    assert all(min(counts[name]) > 0 for name in ("all scores equal", "denormal", "bf16"))
    scores = search(*jobs["denormal"][1])[0].scores
    assert scores.min() < torch.finfo(torch.float32).tiny
    assert search(*jobs["scores at the threshold"][1])[0].scores.min() > 0.25
    assert search(*jobs["scores just above the threshold"][1])[0].scores.min() == 0.25


def iou(one, other, shift):
    """In float64, by torchvision's operations in its order, of boxes that are shifted first."""
    one, other = one.double() + shift, other.double() + shift
    sides = (torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])).clamp(min=0)
    inter = sides[0] * sides[1]
    return (inter / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - inter)).item()


def pair_job(default_boxes, classes, limit):
    """Two boxes of the last class, the first with the higher score."""
    logits = torch.zeros(1, 2, classes)
    logits[0, :, -1] = torch.tensor([20.0, 19.0])
    config = EvaluationConfig(nms_iou=limit, score_threshold=0.5)
    return 2, (Predictions(logits, torch.zeros(1, 2, 4)), default_boxes, config)


@needs_interpreter
def test_the_last_bit_of_the_iou_decides(tmp_path):
    """At an IoU of the limit both boxes stay, and above it by one bit only the better one."""
    pairs = torch.cat([0.5 + 0.04 * torch.rand(20, 2, 2), 0.3 + 0.1 * torch.rand(20, 2, 2)], -1)
    known = [([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.25]), ([0.5, 0.5, 1, 1], [0.5, 0.5, 0.5, 1])]
    pairs = torch.cat([pairs, torch.tensor(known)])
    jobs, expected = {}, {}
    for place, pair in enumerate(pairs):
        corners = torch.cat([pair[:, :2] - pair[:, 2:] / 2, pair[:, :2] + pair[:, 2:] / 2], 1)
        limit = iou(*corners, shift=2.0 * 4)
        assert place < 20 or limit == 0.5
        for count, value in ((2, limit), (1, np.nextafter(limit, 0).item())):
            jobs[f"pair {place}: {count}"] = pair_job(pair, 5, value)
            expected[f"pair {place}: {count}"] = [count]
    assert assert_equal_to_search(padded(tmp_path, jobs), jobs) == expected


@needs_interpreter
def test_coordinates_close_to_zero_are_rounded_alike(tmp_path):
    """The shift takes digits from them, so that the IoU of two tiny boxes changes."""
    pairs = 1e-12 * (0.5 + torch.cat([0.1 * torch.rand(10, 2, 2), torch.rand(10, 2, 2)], -1))
    jobs, differ = {}, 0
    for place, pair in enumerate(pairs):
        corners = torch.cat([pair[:, :2] - pair[:, 2:] / 2, pair[:, :2] + pair[:, 2:] / 2], 1)
        corners.clamp_(min=0)
        shifted, plain = iou(*corners, shift=2.0 * 29), iou(*corners, shift=0.0)
        limit = min(max((shifted + plain) / 2, 0.01), 1)
        differ += (shifted > limit) != (plain > limit)
        jobs[f"pair {place}"] = pair_job(pair, 30, limit)
    assert differ > 5
    counts = assert_equal_to_search(padded(tmp_path, jobs), jobs)
    assert {count for each in counts.values() for count in each} == {1, 2}


def test_keys_fall_with_the_score_then_rise_with_position():
    scores = torch.randint(0, 4, (2, 30, 5)) / 4
    keys = pair_keys(scores)
    assert keys.shape == (2, 4, 30)
    for image, image_keys in zip(scores, keys, strict=True):
        pairs = [(box, label) for box in range(30) for label in range(1, 5)]
        pairs.sort(key=lambda pair: -image[pair])
        falling = image_keys.flatten().sort(descending=True).values.tolist()
        assert [divmod(149 - key % HALF, 5) for key in falling] == pairs


def test_shapes_follow_from_the_settings_alone(monkeypatch):
    """Tensors without values: whatever reads one, or makes a shape of one, raises an error."""
    made = []

    def without_values(keys_BLK, boxes_BP4, finite_BP, lowest_key, iou, wanted):
        assert keys_BLK.shape == (16, 80, 400)
        made.append(keys_BLK.new_empty(*keys_BLK.shape[:2], wanted))
        return made[-1]

    monkeypatch.setattr(kernel, "suppress", without_values)
    logits, locations = (torch.empty(16, 8732, size, device="meta") for size in (81, 4))
    arguments = (
        Predictions(logits, locations),
        torch.empty(8732, 4, device="meta"),
        EvaluationConfig(),
    )
    assert padded_detections(*arguments).shape == (16, 200, 6)
    assert made[0].shape == (16, 80, 200)
    with pytest.raises((NotImplementedError, RuntimeError)):
        search(*arguments)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("block", [1, 256, kernel.BLOCK])
def test_the_kernel_compiles_for_a_gpu(capability, block, tmp_path, monkeypatch):
    """To the operations that torchvision does: none is fused, none is rounded to float32."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    signature = {"keys": "*i64", "boxes": "*fp32", "finite": "*u1", "kept": "*i64"}
    signature |= {"lowest_key": "i64"}
    signature |= dict.fromkeys(("candidates", "box_count", "class_count", "wanted"), "i32")
    constants = {"IOU": 0.45, "BLOCK": block}
    compiled = triton.compile(
        ASTSource(
            kernel.suppress_class, signature | dict.fromkeys(constants, "constexpr"), constants
        ),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": kernel.WARPS, "enable_fp_fusion": False},
    )
    ptx = compiled.asm["ptx"]
    assert f".target sm_{capability}" in ptx
    assert compiled.asm["cubin"].startswith(b"\x7fELF")
    assert "div.rn.f64" in ptx
    assert "fma.rn.f64" not in ptx
    assert np.float64(0.45).tobytes()[::-1].hex().upper() in ptx
