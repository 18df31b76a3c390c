"""The split steps: only one divisor takes the way of the large batch."""

from dataclasses import replace

from ssd.config import Config, ModelConfig, OptimizerConfig
from ssd.data.shapes import draw_shapes
from ssd.spikes.trajectory import trajectory_distances

SAME, OTHER = 1e-4, 1e-3


def test_only_the_positives_of_the_step_take_the_way_of_the_large_batch(tmp_path):
    draw_shapes(tmp_path / "drawn", 24, 1, seed=3)
    base = replace(
        Config(),
        model=ModelConfig(input_size=96),
        optimizer=OptimizerConfig(name="sgd", lr=0.02, warmup_steps=50),
    )
    distances = trajectory_distances(base, tmp_path / "drawn")
    assert distances.pop("step_positives") < SAME
    assert len(distances) == 3
    assert min(distances.values()) > OTHER
