"""Evaluation shared among any number of ranks, with every image evaluated exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ssd.detect.detector import Detected, Detector, detect
from ssd.evaluation.detections import DetectionTable
from ssd.structures import Record
from ssd.training.ranks import (
    from_all_ranks,
    is_first,
    rank,
    take_first_ranks_buffers,
    world_size,
)
from ssd.training.signals import Signals, Stopped


def detect_on_all_ranks(
    detector: Detector, records: Sequence[Record], workers: int, signals: Signals
) -> Detected | None:
    """The detections in the images of `records`, the same on every rank.

    Returns None if a rank was asked to stop: it drops its share, and the others finish theirs.

    The images are dealt out to the ranks in turn, and none is repeated to make the shares equal.
    The rows are in the order of the images, as from a single rank.
    """
    take_first_ranks_buffers(detector.model)
    ranks = world_size()
    own = None
    with suppress(Stopped), signals.interrupting():
        own = detect(detector, records[rank() :: ranks], workers, show_progress=is_first())
    shares = [share for share in from_all_ranks(own) if share is not None]
    if len(shares) < ranks:
        return None
    tables = [share.table for share in shares]
    image_index = np.concatenate(
        [first + ranks * table.image_index for first, table in enumerate(tables)]
    )
    order = np.argsort(image_index, kind="stable")
    table = DetectionTable(
        image_index[order],
        np.concatenate([table.labels for table in tables])[order],
        np.concatenate([table.scores for table in tables])[order],
        np.concatenate([table.boxes for table in tables])[order],
    )
    left_out = {
        first + ranks * index: problem
        for first, share in enumerate(shares)
        for index, problem in share.left_out.items()
    }
    return Detected(table, left_out)
