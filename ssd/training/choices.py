"""Settings that a new run chooses itself, and keeps: its default boxes and its initial weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ssd.config import Config
from ssd.model.automatic import choose_weights
from ssd.structures import DataSet
from ssd.training.fitted_boxes import fit_boxes
from ssd.training.ranks import made_by_first_rank


def choose(config: Config, data: DataSet) -> tuple[Config, str, str]:
    """The config with what it leaves to the run; every rank has to call it.

    Args:
        config: the whole run.
        data: the images to train on.

    Returns:
        The config; the origin of fitted boxes, and the reason for random weights, in a few words or
        empty.
    """
    boxes_from = random_because = ""
    if config.model.fit_boxes:
        fitted, boxes_from = made_by_first_rank(partial(fit_boxes, config, data))
        config = replace(config, model=fitted)
    if config.model.weights == "auto":
        chosen, random_because = made_by_first_rank(partial(choose_weights, config.model))
        config = replace(config, model=chosen)
    return config, boxes_from, random_because
