"""Times `ssd check` beside decoding every image once, in CPU time of one process."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.compare import Comparison, compare
from ssd.config import DataConfig
from ssd.data.layout import locate
from ssd.data.source import load_data
from ssd.doctor.check import check_data


def benchmark_checking(data: DataConfig, rounds: int) -> list[Comparison]:
    """Checks the training split of a data set, and decodes its images."""
    data, _ = locate(replace(data, eval_split=None))
    paths = [record.path for record in load_data(data, data.train_split, None).records]

    def decode() -> None:
        for path in paths:
            cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)

    sides = {"check": lambda: check_data(data, 300), "decode": decode}
    name = f"check, {len(paths)} images of {Path(data.root).name}"
    return [compare(name, sides, rounds, torch.device("cpu"), time.process_time)]
