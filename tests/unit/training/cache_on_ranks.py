"""Each rank puts the image of its number into the cache, and writes down what it sees of all.

Before that, each has other memory free, and all have to agree on what is.

torchrun --nproc-per-node 2 cache_on_ranks.py OUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from ssd.structures import Record
from ssd.training import cache_place
from ssd.training.feed import open_host_cache
from ssd.training.ranks import joined_ranks, rank, world_size

NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool)

with joined_ranks(torch.device("cpu")):
    cache_place.free_memory = lambda: 50 - rank()
    agreed = cache_place.free_on_all_ranks(torch.device("cpu"))
    assert agreed == cache_place.Memory(51 - world_size(), 0), agreed
    records = [Record(str(n), Path(str(n)), 5 + n, 4, *NOTHING) for n in range(world_size())]
    cache = open_host_cache(records)
    cache.put(rank(), np.full((4, 5 + rank(), 3), 10 + rank(), np.uint8))
    dist.barrier()
    images = [cache.get(index) for index in range(world_size())]
    assert all(image.min() == image.max() for image in images)
    np.save(Path(sys.argv[1]) / f"seen_by_{rank()}.npy", [image.min() for image in images])
    dist.barrier()
