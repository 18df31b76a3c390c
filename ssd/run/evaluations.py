"""The folder of an evaluation: the run's own for its own evaluation, else one of its own."""

from __future__ import annotations

import json
import os
import re
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssd.config import Config
from ssd.run.names import EVALUATIONS

# The settings by which evaluations of one checkpoint can differ, but for the split.
EVALUATION_FIELDS = (
    *("metric", "iou_threshold", "score_threshold"),
    *("nms_iou", "top_k", "max_detections", "mirror"),
)
DATA_FIELDS = (
    *("format", "images", "annotations", "exif", "background"),
    *("eval_share", "split_seed"),
)
LONGEST_SPLIT = 60


def differs(own: Config, config: Config) -> bool:
    """Returns whether an evaluation with some settings may give other results than the run's own.

    Args:
        own: the config of the run, its data as `locate` returns it.
        config: the settings of the evaluation, in the same form.
    """
    return _of_results(own) != _of_results(config)


def evaluation_name(step: int, own: Config, config: Config) -> str:
    """The name of the folder: split, step, and every other setting that differs from the run's.

    Settings of the data and of the model have no short names: their values become a checksum.
    """
    split = config.data.eval_split
    joined = "+".join([split] if isinstance(split, str) else split or [])
    parts = [_as_name(joined), f"step_{step}"]
    before, now = _of_results(own), _of_results(config)
    changed = {name: value for name, value in now.items() if before[name] != value}
    changed.pop("data.eval_split", None)
    for field in EVALUATION_FIELDS:
        name = f"evaluation.{field}"
        if name in changed:
            parts.append(f"{field}_{changed.pop(name)}")
    if changed or len(joined) > LONGEST_SPLIT:
        digest = zlib.crc32(json.dumps([changed, joined], sort_keys=True).encode())
        label = Path(config.data.root).name if "data.root" in changed else "settings"
        parts.append(f"{_as_name(label)}_{digest:08x}")
    return "-".join(parts)


def _as_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)[:LONGEST_SPLIT].strip(".") or "all"


def evaluation_folder(run: Path, step: int, own: Config, config: Config) -> Path:
    """The folder below a run for an evaluation that is not its own."""
    return run / EVALUATIONS / evaluation_name(step, own, config)


def _of_results(config: Config) -> dict[str, Any]:
    """The settings, by `section.key`, that results depend on."""
    data, evaluation = asdict(config.data), asdict(config.evaluation)
    return {
        "data.root": os.path.realpath(os.path.expanduser(config.data.root)),
        "data.eval_split": config.data.eval_split,
        "augment.antialias": config.augment.antialias,
        **{f"data.{name}": data[name] for name in DATA_FIELDS},
        **{f"model.{name}": value for name, value in asdict(config.model).items()},
        **{f"evaluation.{name}": evaluation[name] for name in EVALUATION_FIELDS},
    }
