"""The first rank reads a data set; every rank writes down the one it has, or the error it gets.

torchrun --nproc-per-node 2 made_on_ranks.py ROOT OUT
"""

import pickle
import sys
from pathlib import Path

import torch

from ssd.common.errors import UserError
from ssd.data.coco import read_coco
from ssd.training.ranks import is_first, joined_ranks, made_by_first_rank, rank
from ssd.training.signals import Stopped


def read():
    assert is_first()
    return read_coco(Path(sys.argv[1]), ["val"], None)


def fail(error):
    assert is_first()
    raise error


with joined_ranks(torch.device("cpu")):
    seen = [made_by_first_rank(read)]
    for error in (UserError("a mistake"), FileExistsError(17, "exists", "x"), Stopped("now")):
        try:
            made_by_first_rank(lambda error=error: fail(error))
        except (UserError, OSError, Stopped) as caught:
            seen.append(repr(caught))
    Path(sys.argv[2], f"{rank()}.pickle").write_bytes(pickle.dumps(seen))
