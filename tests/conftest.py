import random
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
