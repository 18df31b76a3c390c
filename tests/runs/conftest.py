import os
import subprocess
import sys

import pytest


@pytest.fixture
def tool(repository):
    """Runs a tool as a user would, in the test's own folder; returns the finished process."""

    def run(name, *arguments, timeout=120):
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
        return subprocess.run(
            [sys.executable, str(repository / "tools" / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def small_shapes(tmp_path_factory):
    """A shapes set of 24 and 8 pictures, in VOC format."""
    from ssd.data.shapes import draw_shapes

    root = tmp_path_factory.mktemp("data") / "small"
    draw_shapes(root, 24, 8, seed=1)
    return root


@pytest.fixture
def small_run(small_shapes):
    """Flags of a run that takes seconds."""
    return [
        *("--data.format", "voc", "--data.root", str(small_shapes), "--data.workers", "0"),
        *("--model.input_size", "96", "--training.batch_size", "4", "--training.log_every", "3"),
        *("--training.device", "cpu", "--training.deterministic", "true"),
        *("--evaluation.every_epochs", "1"),
    ]
