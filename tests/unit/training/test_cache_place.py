import math

import pytest
import torch

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.training import cache_place as module
from ssd.training.cache_place import CachePlace, Memory, cache_place, free_on_all_ranks

GB = 10**9


def place(needed, host=0, device=0, gb=None, cache="auto", repeats=True, in_workers=False):
    return cache_place(
        DataConfig(cache=cache, cache_gb=gb),
        needed,
        Memory(host, device),
        "cuda" if device else "cpu",
        repeats=repeats,
        in_workers=in_workers,
    )


def test_auto_takes_the_fastest_memory_of_which_half_is_enough():
    assert place(10 * GB, host=99 * GB, device=20 * GB) == CachePlace("device", 10 * GB)
    assert place(10 * GB + 1, host=99 * GB, device=20 * GB).name == "host"
    assert place(10 * GB, host=99 * GB).name == "host"
    assert place(10 * GB, host=20 * GB) == CachePlace("host", 10 * GB)
    assert place(10 * GB, host=20 * GB - 2).name == "none"


def test_auto_never_keeps_on_a_device_what_workers_have_to_change():
    assert place(GB, host=9 * GB, device=9 * GB, in_workers=True).name == "host"
    assert place(GB, host=GB, device=9 * GB, in_workers=True).name == "none"


def test_auto_obeys_a_limit_and_what_is_free():
    assert place(5 * GB, host=99 * GB, device=99 * GB, gb=5).name == "device"
    assert place(5 * GB, host=99 * GB, device=99 * GB, gb=4.9).name == "none"
    assert place(5 * GB, host=9 * GB, gb=50).name == "none"


def test_auto_says_why_it_keeps_nothing():
    refused = place(99_600_000_000, host=60 * GB)
    assert refused.reason == "99.60 GB of images do not fit into 30.00 GB that may be used"
    once = place(GB, host=99 * GB, device=99 * GB, repeats=False)
    assert once == CachePlace("none", reason="no image comes twice in this run")


def test_what_the_user_names_is_taken():
    assert place(GB, host=99 * GB, device=99 * GB, cache="none") == CachePlace("none")
    assert place(50 * GB, host=8 * GB, cache="host") == CachePlace("host", 4 * GB)
    assert place(50 * GB, host=8 * GB, cache="host", gb=20) == CachePlace("host", 20 * GB)
    assert place(50 * GB, 8 * GB, 6 * GB, cache="device") == CachePlace("device", 3 * GB)
    assert place(50 * GB, 8 * GB, 6 * GB, cache="device", gb=70) == CachePlace("device", 70 * GB)
    assert place(GB, host=8 * GB, cache="host", repeats=False).name == "host"


def test_a_device_that_cannot_be_used_is_refused():
    with pytest.raises(UserError, match=r"needs a CUDA device, .* trains on cpu: give --data\.ca"):
        place(GB, host=9 * GB, cache="device")
    with pytest.raises(UserError, match=r"Albumentations .* runs in the workers: give --data\.ca"):
        place(GB, host=9 * GB, device=9 * GB, cache="device", in_workers=True)


def test_the_rank_with_the_least_memory_counts(monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 7)
    assert free_on_all_ranks(torch.device("cpu")) == Memory(7, 0)
    others = [(9, 4), (3, 8)]
    monkeypatch.setattr(module, "from_all_ranks", lambda own: [own, *others])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6, math.inf))
    assert free_on_all_ranks(torch.device("cuda")) == Memory(3, 4)
