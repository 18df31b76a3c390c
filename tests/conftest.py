import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


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
