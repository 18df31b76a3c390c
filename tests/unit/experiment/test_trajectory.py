"""The split steps: only one divisor takes the way of the large batch."""

from dataclasses import replace

import pytest
import torch

from ssd.config import Config, ModelConfig, OptimizerConfig
from ssd.data.shapes import draw_shapes
from ssd.experiment.trajectory import trajectory_distances


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        pytest.param(OptimizerConfig("sgd", 0.02), 20, marks=pytest.mark.long),
        (OptimizerConfig("sgd", 0.02), 4),
        (OptimizerConfig("adamw"), 3),
    ],
)
def test_only_the_positives_of_the_step_take_the_way_of_the_large_batch(
    tmp_path, monkeypatch, optimizer, steps
):
    """In float64, where no rounding turns one hard negative into another."""
    monkeypatch.setattr("ssd.experiment.trajectory.NUM_STEPS", steps)
    draw_shapes(tmp_path / "drawn", 24, 1, seed=3)
    base = replace(
        Config(), model=ModelConfig(input_size=96), optimizer=replace(optimizer, warmup_steps=50)
    )
    distances = trajectory_distances(base, tmp_path / "drawn", torch.float64)
    assert distances.pop("step_positives") < 1e-10
    assert len(distances) == 3
    assert min(distances.values()) > 1e-4
