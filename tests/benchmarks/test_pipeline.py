from itertools import repeat

import torch

from benchmarks.peers import torchvision_batches
from benchmarks.pipeline import by_turns, rate_line
from ssd.config import DataConfig, ModelConfig
from ssd.data.shapes import draw_shapes
from ssd.data.source import load_data


def test_what_comes_before_the_clock_starts_does_not_count():
    now = 0.0

    def batches(seconds):
        nonlocal now
        for taken in [100.0, *repeat(seconds, 5)]:
            now += taken
            yield None

    sides = {"ours": lambda: batches(0.5), "theirs": lambda: batches(2.0)}
    rates = by_turns(sides, batch_size=8, head=1, rounds=3, clock=lambda: now)
    assert rates == {"ours": 16.0, "theirs": 4.0}
    assert rate_line("x", rates).endswith(
        "ours 16.0 images/s   theirs 4.0 (ours makes 4.00 times as many)"
    )


def test_torchvisions_recipe_gives_normalised_batches_with_their_boxes(tmp_path):
    draw_shapes(tmp_path / "small", 5, 1, seed=1)
    data = load_data(DataConfig("voc", str(tmp_path / "small")), "trainval", None)
    batches = list(torchvision_batches(data.records, [[0, 1, 2], [3, 4]], 0, ModelConfig()))
    assert [images.shape for images, _ in batches] == [(3, 3, 300, 300), (2, 3, 300, 300)]
    for images, targets in batches:
        assert images.dtype == torch.float32
        assert -2.2 < images.min() < 0 < images.max() < 2.7  # 0 … 255, normalised
        for target in targets:
            assert len(target["boxes"]) == len(target["labels"]) > 0
            assert 0 <= target["boxes"].min() < target["boxes"].max() <= 300
