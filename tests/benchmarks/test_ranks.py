import re

import pytest
import torch

from benchmarks import ranks
from ssd.config import ModelConfig

CPU = torch.device("cpu")
TINY = ModelConfig("ssd7", 96)


@pytest.mark.distributed
def test_it_runs():
    """Inside, it checks itself that the exchange was one: the ranks' gradients are equal to the
    bit with it, and differ without."""
    printed = ranks.benchmark_ranks(TINY, batch_size=3, rounds=1, device=CPU)
    patterns = [
        r"ranks, batch 3, fp32 +2 ranks [\d.]+ ms   1 rank [\d.]+ ms \(ratio [\d.]+\)",
        r"ranks, batch 3, fp32 +2 ranks [\d.]+ ms   without exchange [\d.]+ ms \(ratio [\d.]+\)",
        r"share of communication +-?[\d.]+%",
        r"the sums alone +gradient [\d.]+ ms   positives [\d.]+ ms",
    ]
    for pattern, line in zip(patterns, printed, strict=True):
        assert re.fullmatch(pattern, line)


def test_the_lines():
    steps = {"exchanging": 1.0, "apart": 0.8, "one rank": 0.5}
    sums = {"gradient alone": 0.3, "positives alone": 0.002}
    several, without, share, alone = ranks.lines(steps | sums, ranks=2, batch_size=8)
    assert several.endswith("2 ranks 1000.0 ms   1 rank 500.0 ms (ratio 2.00)")
    assert without.endswith("2 ranks 1000.0 ms   without exchange 800.0 ms (ratio 1.25)")
    assert share.endswith(" 20.0%")
    assert alone.endswith("gradient 300.0 ms   positives 2.0 ms")


def test_one_gpu_is_one_rank(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    (line,) = ranks.benchmark_ranks(TINY, 4, 1, torch.device("cuda"))
    assert "only 1" in line


def test_the_ranks_share_the_images(monkeypatch):
    whole = ranks.random_batch(5, 96, CPU)
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    shares = []
    for number in range(2):
        monkeypatch.setattr(ranks, "rank", lambda number=number: number)
        shares.append(ranks.share_of_rank(whole))
    for field in ("images", "boxes", "labels"):
        parts = [getattr(share, field) for share in shares]
        assert [len(part) for part in parts] == [3, 2]
        assert torch.equal(torch.cat(parts), getattr(whole, field))
