"""Images with more objects than an evaluation can credit a detector with."""

from __future__ import annotations

import numpy as np

from ssd.config import EvaluationConfig
from ssd.structures import DataSet

MANY = 100  # pycocotools counts that many detections of an image and class at most


def crowded(data: DataSet, config: EvaluationConfig, detects: bool = True) -> str:
    """A line about images of more than `MANY` objects; empty if there are none.

    Args:
        data: difficult objects and crowds do not count.
        config: the metric and the number of detections that are kept of an image.
        detects: a detector is evaluated, which keeps so many; a file of detections keeps all.
    """
    counted = [record.labels[record.trained_on(False)] for record in data.records]
    counts = np.array([len(labels) for labels in counted])
    most = int(counts.max(initial=0))
    if most <= MANY:
        return ""
    path = data.records[int(counts.argmax())].path
    many = (counts > MANY).sum()
    line = (
        f"{many} of {len(counts)} images {'has' if many == 1 else 'have'} more than {MANY} "
        f"objects, the most {most} in {path}"
    )
    of_a_class = max(int(np.bincount(labels).max()) for labels in counted if len(labels))
    limits = (("max_detections", most, "an image"), ("top_k", of_a_class, "a class in an image"))
    for name, objects, unit in limits:
        if detects and objects > (kept := getattr(config, name)):
            line += f"; evaluation.{name} keeps {kept} detections of {unit}: set it higher"
    if of_a_class > MANY and config.metric == "coco":
        line += (
            f"; COCO's metric counts the best {MANY} detections of a class in an image, so that "
            "further objects count as missed: --evaluation.metric voc counts all"
        )
    elif of_a_class > MANY:
        line += f"; COCO's metric would count the best {MANY} detections of a class in an image"
    return line
