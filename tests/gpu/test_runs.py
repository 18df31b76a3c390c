"""Whole runs on a CUDA device, as CUDA graphs and compiled: `pytest -m gpu tests/gpu`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssd.data.shapes import draw_shapes
from tests.runs.compare import differences

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
PATHS = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
FOUND = os.pathsep.join(map(os.path.abspath, PATHS))  # now, since tests run in their own folders

STOPS_AFTER_THE_SEVENTH = """
from unittest import mock
from ssd.training import trainer
saved = trainer.Trainer.save

def save(self):
    saved(self)
    self.signals.stop = self.state.step == 7

mock.patch.object(trainer.Trainer, "save", save).start()
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, 24, 8, seed=1)
    return root


@pytest.fixture
def train(shapes, tmp_path):
    """Trains on the GPU in a process of its own; returns what it printed."""

    environment = os.environ | {"PYTHONPATH": FOUND}

    def run(*flags, prepare=""):
        given = (
            *("--data.format", "voc", "--data.root", str(shapes), "--data.workers", "2"),
            *("--model.input_size", "96", "--training.batch_size", "4"),
            *("--training.log_every", "3", "--training.device", "cuda", *flags),
        )
        code = f"{prepare}\nfrom ssd.commands.main import ssd\nssd()"
        command = [sys.executable, "-c", code, "train", *given]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode in (0, 143), done.stderr
        assert "slower" not in done.stdout
        return done.stdout

    return run


@pytest.mark.parametrize("cache", ["none", "host", "device"])
def test_a_run_of_graphs_equals_a_plain_one_also_when_resumed(train, tmp_path, cache):
    flags = (
        *("--training.deterministic", "true", "--training.ema_decay", "0.9"),
        *("--training.accumulate", "2", "--training.steps", "14", "--data.cache", cache),
    )
    train(*flags, "--training.graph", "off", "--out", "plain")
    assert "as CUDA graphs" in train(*flags, "--out", "graph")
    assert differences(tmp_path / "plain", tmp_path / "graph") == []
    often = ("--checkpoint.every_steps", "7", "--out", "resumed")
    assert "stopped after step 8" in train(*flags, *often, prepare=STOPS_AFTER_THE_SEVENTH)
    train(*flags, *often)
    assert differences(tmp_path / "plain", tmp_path / "resumed") == []


def test_a_compiled_run_says_so_and_learns(train, tmp_path):
    told = train("--training.steps", "60", "--out", "run")
    assert "compiled the model in" in told
    assert "compiled, as CUDA graphs" in told
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "train"]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
