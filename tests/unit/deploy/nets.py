"""Networks with random weights, and pictures for them."""

import datetime
import itertools

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou

from ssd.augment.batch import preprocess_of
from ssd.common.sides import both, one_or_both
from ssd.config import Config, EvaluationConfig, ModelConfig
from ssd.deploy.compare import same_objects
from ssd.deploy.facts import Facts
from ssd.deploy.runtime import Objects
from ssd.detect.detector import Detector
from ssd.model.mobilenet import SSDLite
from ssd.model.ssd import build_model

CLASSES = ("cat", "dog", "emu")
SIZES = dict.fromkeys(
    ("ssd7", "mobilenet_v3_large", "timm:convnext_atto", "timm:efficientnet_b0"), 96
)


def photo(height, width, seed=0, gray=False):
    """A picture [H, W, 3] with edges and gradients."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (7, 9, 1 if gray else 3), np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = generator.integers(-20, 20, (height, width, 1))
    return (
        np.clip(pixels.reshape(height, width, -1) + noise, 0, 255)
        .astype(np.uint8)
        .repeat(3 if gray else 1, 2)
    )


def lively(model, size, spread=1.0):
    """Gives a random network statistics of its own, and scores that differ from place to place.

    `spread` is the standard deviation of its input.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.7, 1.3)
                module.weight.uniform_(0.8, 1.2)
                module.bias.uniform_(-0.1, 0.1)
            elif isinstance(module, torch.nn.Conv2d) and isinstance(model.backbone, SSDLite):
                # Its own initial weights are so small that all places have the same scores.
                torch.nn.init.kaiming_normal_(module.weight, a=0.8)
        predictions = model(spread * torch.randn(1, 3, *both(size)))
        for layers, wanted, found in (
            (model.head.logits, 1.0, predictions.logits),
            (model.head.locations, 1.0, predictions.locations),
        ):
            for layer in layers:
                last = layer if isinstance(layer, torch.nn.Conv2d) else layer[-1]
                last.weight *= wanted / found.std()
    return model


def random_detector(backbone="ssd7", **thresholds):
    """A detector for three classes.

    A name may end in `+pyramid`, for a feature pyramid, and in `+wide`, for another input.
    """
    torch.manual_seed(3)
    name, *kinds = backbone.split("+")
    size = [96, 160] if "wide" in kinds else SIZES.get(name, 300)
    network = ModelConfig(name, size, pyramid=32 if "pyramid" in kinds else 0)
    config = Config(model=network, evaluation=EvaluationConfig(**thresholds))
    preprocess = preprocess_of(config.model, config.augment)
    spread = 58 / preprocess.std[0]  # of pixels; VGG16 takes them as they are
    model = lively(build_model(config.model, len(CLASSES) + 1).eval(), size, spread)
    return Detector(model, preprocess, CLASSES, None, config.evaluation)


def facts_of(detector, form="detections", pixels=False, **changed):
    preprocess, config = detector.preprocess, detector.config
    values = {
        "classes": detector.classes,
        "input_size": one_or_both(*both(preprocess.size)),
        "pixel_mean": tuple(preprocess.mean),
        "pixel_std": tuple(preprocess.std),
        "antialias": preprocess.antialias,
        "score_threshold": config.score_threshold,
        "nms_iou": config.nms_iou,
        "top_k": config.top_k,
        "max_detections": config.max_detections,
        "run": "mine",
        "step": 7,
        "date": datetime.date(2026, 1, 2).isoformat(),
        "licence": "MIT",
        "config": "{}\n",
    }
    return Facts(form=form, pixels=pixels, **(values | changed))


def expected(detector, pixels):
    """What the model finds in a picture."""
    (result,) = detector.results([("", pixels)], 0)
    return Objects(result.boxes, result.scores, result.labels)


def suppress_each_other(one, place, other, match, nms_iou=0.45):
    """Tells two objects of one class that overlap too much for both to stay."""
    boxes = (torch.from_numpy(each.boxes[at])[None] for each, at in ((one, place), (other, match)))
    return one.labels[place] == other.labels[match] and box_iou(*boxes).item() > nms_iou


def assert_same(wanted, found, full=None):
    """The same objects in the same order, but for runs of nearly equal scores.

    With `full` objects, the last run may have been cut off, and holds any of its objects. Of two
    boxes that suppress each other and have nearly equal scores, rounding chooses.
    """
    count = len(wanted.scores)
    assert count == len(found.scores) > 5
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4, rtol=0)
    breaks = np.flatnonzero(wanted.scores[:-1] - wanted.scores[1:] > 1e-4) + 1
    for start, end in itertools.pairwise([0, *breaks.tolist(), count]):
        if end == count == full:
            break
        one, other = (Objects(*(column[start:end] for column in each)) for each in (wanted, found))
        pairs = same_objects(one, other)
        swapped = set(range(end - start)) - {place for place, _ in pairs}
        instead = set(range(end - start)) - {match for _, match in pairs}
        for place in swapped:
            assert any(suppress_each_other(one, place, other, match) for match in instead)
        for place, match in pairs:
            np.testing.assert_allclose(other.boxes[match], one.boxes[place], atol=0.05, rtol=0)
