import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssd.augment.batch import Preprocess
from ssd.common.errors import UserError
from ssd.config import AugmentConfig, DataConfig
from ssd.data.cache import HostCache, cache_size
from ssd.data.order import Order
from ssd.data.voc import read_voc
from ssd.training import cache_place
from ssd.training.feed import Feed, memory_of_this_machine, open_host_cache

# Python 3.12 and newer warn whenever a process with threads forks; PyTorch's loader does
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

CPU = torch.device("cpu")
PREPROCESS = Preprocess(32, (120, 115, 100), (58, 57, 56), antialias=True)
SCRIPT = Path(__file__).with_name("cache_on_ranks.py")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    from ssd.data.shapes import draw_shapes

    root = tmp_path_factory.mktemp("data") / "shapes"
    draw_shapes(root, 4, 1, seed=1)
    return read_voc(root, ["trainval"], None).records


def feed(records, repeats=True, **settings):
    data = DataConfig(**settings)
    return Feed(records, data, AugmentConfig(), PREPROCESS, 0, CPU, repeats=repeats)


def test_what_is_kept_is_told_in_one_line(records):
    size = 3 * records[0].width * records[0].height
    same = [replace(records[0], image_id=str(number)) for number in range(1000)]
    gb = 1000 * (size + 1) / 1e9
    assert feed(same, cache="none").cache_line == ""
    whole = feed(same, cache="host", cache_gb=gb)
    assert whole.cache_line == f"host memory keeps all 1000 images, {gb:.2f} GB"
    part = feed(same, cache="host", cache_gb=gb * 0.7505)
    assert part.cache_line.startswith("host memory keeps 750 of 1000 images, ")
    assert part.cache_line.endswith(" GB; the other 250 are decoded in every epoch")
    none = feed(same, cache="host", cache_gb=1e-9)
    assert none.cache_line.startswith("host memory keeps 0 of 1000 images, 0.00 GB; 1000 are")
    assert none.dataset.cache is None


def test_auto_keeps_all_images_where_half_of_the_memory_is_enough(records, monkeypatch):
    needed = cache_size(records)
    monkeypatch.setattr(cache_place, "free_memory", lambda: 2 * needed)
    kept = feed(records)
    assert len(kept.dataset.cache) == len(records) == 4
    told = f"host memory keeps all 4 images, {needed / 1e9:.2f} GB (data.cache auto)"
    assert kept.cache_line == told
    once = feed(records, repeats=False)
    assert once.dataset.cache is None
    assert once.cache_line == "none: no image comes twice in this run (data.cache auto)"
    monkeypatch.setattr(cache_place, "free_memory", lambda: 2 * needed - 1)
    decoded = feed(records)
    assert decoded.dataset.cache is None
    assert decoded.cache_line.startswith("none: 0.00 GB of images do not fit into 0.00 GB that ")
    assert decoded.cache_line.endswith(" (data.cache auto)")
    part = feed(records, cache="host")
    assert part.cache_line.startswith("host memory keeps 3 of 4 images, ")


def test_a_cache_takes_no_memory_before_it_is_used(records):
    """So it costs a short run nothing: the file has holes in place of pages."""
    large = [replace(records[0], width=20_000, height=20_000)] * 5
    with memory_of_this_machine(cache_size(large)) as file:
        cache = HostCache(large, file)
        assert file.stat().st_size == 6_000_000_005
        assert cache.num_kept == 0
        assert file.stat().st_blocks * 512 < 100_000


def test_a_device_cache_needs_a_gpu(records):
    with pytest.raises(UserError, match=r"data\.cache is device, .* on cpu: give --data\.cache ho"):
        feed(records, cache="device")


def test_the_memory_of_a_cache_is_given_back(records):
    def opened():
        return len(os.listdir("/proc/self/fd"))

    before, shared = opened(), set(os.listdir("/dev/shm"))
    cache = open_host_cache(records)
    cache.put(0, np.full((records[0].height, records[0].width, 3), 9, np.uint8))
    assert "/memfd:decoded images" in Path("/proc/self/maps").read_text()
    assert set(os.listdir("/dev/shm")) <= shared
    del cache
    assert opened() == before
    assert "/memfd:decoded images" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("gb", [1.0, 0.0007])
def test_the_batches_of_a_run_are_the_same_with_a_cache(records, gb):
    order = Order(len(records), 3, accumulate=1, world_size=1, seed=0, drop_last=False)

    def batches(first, **settings):
        steps = feed(records, **settings).steps(order, first, 8)
        return [batch for ready in steps for batch in ready.batches]

    straight = batches(0, workers=0, cache="none")
    for first in (0, 3):
        found = batches(first, workers=2, cache="host", cache_gb=gb)
        for ours, theirs in zip(found, straight[first:], strict=True):
            assert ours.image_ids == theirs.image_ids
            for name in ("images", "boxes", "labels"):
                assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


@pytest.mark.distributed
def test_the_ranks_of_a_machine_share_one_cache(torchrun, tmp_path):
    done = torchrun(2, SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        seen = np.load(tmp_path / f"seen_by_{rank}.npy")
        assert seen.tolist() == [10, 11]
