import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd.structures import PackedSamples

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
Pack = Callable[..., PackedSamples]


# The files that take longest, in seconds on one core. They start first, so that the two processes
# that share the tests end together.
SECONDS = {
    "runs/test_survival.py": 200,
    "unit/spikes/test_detect.py": 150,
    "runs/test_train.py": 80,
    "unit/experiment/test_trajectory.py": 60,
    "unit/training/test_ranks.py": 50,
    "runs/test_configs.py": 40,
    "runs/test_spikes.py": 40,
    "runs/test_deploy.py": 30,
    "unit/deploy/test_networks.py": 20,
    "parity/test_torchvision_weights.py": 35,
    "runs/test_start.py": 25,
    "runs/test_coco.py": 20,
    "unit/augment/test_kernel.py": 20,
    "unit/detect/test_padded.py": 20,
    "benchmarks/test_gpu_parts.py": 15,
    "unit/spikes/test_watch.py": 15,
}


def pytest_collection_modifyitems(items):
    files = [item.path.relative_to(ROOT / "tests").as_posix() for item in items]
    order = sorted(range(len(items)), key=lambda index: -SECONDS.get(files[index], 0))
    items[:] = [items[index] for index in order]


@pytest.fixture(autouse=True)
def _seeded_and_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


def _shared(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in the folder `shared` beside the repository")
    return path


@pytest.fixture(scope="session")
def reference():
    """The path of a reference vector file; skips where it is absent."""
    return lambda name: _shared("reference", name)


@pytest.fixture(scope="session")
def bccd() -> Path:
    """The blood-cell data set in VOC format; skips where it is absent."""
    return _shared("data", "bccd")


@pytest.fixture(scope="session")
def coco128() -> Path:
    """The first images of COCO's train2017 and val2017; skips where they are absent."""
    return _shared("data", "coco128")


@pytest.fixture(scope="session")
def case():
    """A small folder of data as some tool or user left it, by name; skips where it is absent."""
    return lambda name: _shared("cases", name)


@pytest.fixture(scope="session")
def torchrun():
    """Runs a script on several ranks of this machine's CPU; returns the finished process."""

    def run(ranks, script, *arguments, restarts=0):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return subprocess.run(
            [
                *(*launcher, "--nproc-per-node", str(ranks), "--max-restarts", str(restarts)),
                *(str(script), *map(str, arguments)),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )

    return run


@pytest.fixture(scope="session")
def pack() -> Pack:
    """Packs images [H, W, 3] with their boxes [G, 4] in pixels; every label is its place + 1."""

    def pack_samples(images, boxes, keys=None, epoch=0, padding=0) -> PackedSamples:
        count = len(images)
        longest = max(len(each) for each in boxes) + padding
        boxes_BG4 = torch.zeros(count, longest, 4)
        labels_BG = torch.zeros(count, longest, dtype=torch.int64)
        for index, each in enumerate(boxes):
            boxes_BG4[index, : len(each)] = torch.as_tensor(np.array(each)).reshape(-1, 4)
            labels_BG[index, : len(each)] = torch.arange(len(each)) + 1
        lengths = torch.tensor([image.size for image in images])
        return PackedSamples(
            pixels=torch.from_numpy(np.concatenate([image.ravel() for image in images])),
            offsets=lengths.cumsum(0) - lengths,
            sizes=torch.tensor([image.shape[:2] for image in images]),
            boxes=boxes_BG4,
            labels=labels_BG,
            keys=torch.arange(count) if keys is None else torch.tensor(keys),
            epochs=torch.full((count,), epoch),
            image_ids=[str(index) for index in range(count)],
            problems=[],
        )

    return pack_samples
