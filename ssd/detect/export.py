"""Exports a trained SSD300 for use with torchvision, without this framework."""

from __future__ import annotations

import io
import os.path
from pathlib import Path

import torch

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.sides import in_words
from ssd.config import Config
from ssd.detect.load import config_of, open_checkpoint
from ssd.model.foreign import to_torchvision_ssd300
from ssd.model.ssd import feature_maps
from ssd.model.vgg import SSD300
from ssd.run.folder import check_place


def export(trained: Path, out: Path, which: str | None = None) -> tuple[str, str]:
    """Writes the weights of a `vgg16` at 300 pixels for torchvision's `ssd300_vgg16`.

    Args:
        trained: run folder or checkpoint; averaged weights are used if it has them.
        out: the file to write, which ends in .pth.
        which: the checkpoint of a run folder, as `open_checkpoint` takes it.

    Returns:
        The Python lines that load the file into torchvision's model, and the line that names the
        checkpoint.

    Raises:
        UserError: the model is a different one, or `out` is there or does not end in .pth.
    """
    if out.suffix != ".pth":
        raise UserError(f"--out is {out}, but has to end in .onnx, .xml, .pt2 or .pth")
    if os.path.lexists(out):
        raise UserError(f"{out} is there already: remove it, or give another --out")
    check_place(out.parent)
    checkpoint = open_checkpoint(trained, which)
    config = config_of(checkpoint, {})
    backbone, size, width = config.model.backbone, config.model.input_size, config.model.pyramid
    if (backbone, size, width) != ("vgg16", 300, 0):
        pyramid = f" with a pyramid of {width} channels" if width else ""
        raise UserError(
            f"the model of {checkpoint.path} is {backbone}{pyramid} at {in_words(size)} pixels, "
            "but torchvision has an SSD for vgg16 at 300 only, without a pyramid: export such a run"
        )
    buffer = io.BytesIO()
    torch.save(to_torchvision_ssd300(checkpoint.weights), buffer)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, buffer.getvalue())
    lines = torchvision_lines(config, out, len(checkpoint.manifest.classes) + 1)
    return lines, f"using {checkpoint.choice} ({checkpoint.path})"


def torchvision_lines(config: Config, file: Path, num_classes: int) -> str:
    """Python that builds torchvision's model so that it detects the same as ours.

    Default boxes, pixel statistics and thresholds are not in the file. Source:
    `torchvision/models/detection/ssd.py` and `anchor_utils.py`.
    """
    model, evaluation = config.model, config.evaluation
    mean, std = ([value / 255 for value in v] for v in (model.pixel_mean, model.pixel_std))
    maps = feature_maps(SSD300, model)
    sizes = [*(feature_map.min_size for feature_map in maps), maps[-1].max_size]
    antialias = (
        "\n# This run shrinks images with antialiasing, torchvision without: augment.antialias."
        if config.augment.antialias
        else ""
    )
    return f"""\
import torch
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
{antialias}
model = ssd300_vgg16(
    weights=None,
    weights_backbone=None,
    num_classes={num_classes},
    image_mean={mean},
    image_std={std},
    score_thresh={evaluation.score_threshold},
    nms_thresh={evaluation.nms_iou},
    topk_candidates={evaluation.top_k},
    detections_per_img={evaluation.max_detections},
)
model.anchor_generator = DefaultBoxGenerator(
    {[list(feature_map.aspect_ratios) for feature_map in maps]},
    scales={[size / model.shorter_side for size in sizes]},
    steps={[feature_map.step for feature_map in maps]},
    clip={model.clamp_boxes},
)
model.load_state_dict(torch.load({str(file)!r}, weights_only=True))
model.eval()"""
