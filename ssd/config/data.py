"""Settings of the images: where they are, and what is changed in them at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssd.common.errors import UserError
from ssd.common.untrusted import MOST_CLASSES, as_name, short
from ssd.config.limits import LARGEST, SMALLEST, check_limits, require


@dataclass(frozen=True)
class DataConfig:
    """Which images, and who reads them."""

    format: Literal["voc", "coco", "shapes"] = "shapes"
    """How the data is stored: Pascal VOC folders, COCO's JSON files, or `shapes`, the embedded
    set that is drawn on first use (and is then a VOC folder too)."""

    root: str = "datasets/shapes"
    """VOC: the folder with `Annotations`, `ImageSets/Main` and `JPEGImages`, or a folder of such.
    COCO: the folder with `annotations` and `images`."""

    train_split: str | list[str] = "trainval"
    """What to train on; several may be given, as in `[VOC2007/trainval, VOC2012/trainval]`. VOC:
    an image list by its name in `ImageSets/Main`; `VOC2007/trainval` means the list `trainval` of
    the folder `VOC2007` below `data.root`. COCO: `train2017` means
    `annotations/instances_train2017.json` with the images in `images/train2017`; a path that ends
    in `.json` means that file below `data.root`, with the images beside it."""

    eval_split: str | list[str] = "test"
    """What to evaluate on, written like `data.train_split`."""

    classes: list[str] | None = None
    """Names of the classes to detect, in order. Without it: those of the training annotations,
    VOC's sorted, COCO's by their ids. Objects of other classes are left out and counted."""

    train_difficult: bool = True
    """Whether to train on objects that VOC marks `difficult`, as Caffe does. Evaluation never
    counts them. (COCO's crowds are never trained on.)"""

    workers: int = 2
    """Processes that decode images; 0 decodes in the training process."""

    cache: Literal["none", "host", "device"] = "none"
    """Where decoded training images are kept, so that later epochs decode nothing: nowhere, in
    the memory of each machine, shared by its ranks, or in the memory of each GPU."""

    cache_gb: float = 8.0
    """How much they may take there, in 10^9 bytes. An image takes 3 x width x height, COCO's
    train2017 about 100. The memory has to be there (in a container: within its limit). Images that
    `host` has no room for are decoded in every epoch; `device` takes the whole set or none."""

    max_unreadable: float = 0.01
    """Share of the training images that may turn out unreadable before training stops."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits(
            "data",
            self,
            workers=(0, 256),
            cache_gb=(SMALLEST, LARGEST),
            max_unreadable=(0, 1),
        )
        if self.classes is not None:
            rule = f"a list of different names, at most {MOST_CLASSES}"
            listed = isinstance(self.classes, list) and len(self.classes) <= MOST_CLASSES
            require(listed, "data.classes", short(self.classes), rule)
            try:
                names = {as_name("data.classes", one) for one in self.classes}
            except ValueError as problem:
                raise UserError(str(problem)) from None
            require(0 < len(names) == len(self.classes), "data.classes", short(self.classes), rule)


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of the training images: Caffe's SSD chain, with its numbers."""

    engine: Literal["device", "library", "none"] = "device"
    """`device` runs Caffe's chain on the device that trains. `library` leaves it out: what changes
    an image is Albumentations alone, in the workers, by `augment.library` or, without that, by the
    same chain in `configs/augment/ssd_albumentations.yaml`; of the settings below, only
    `augment.antialias` counts. `none` only resizes."""

    library: str | None = None
    """A YAML file with an Albumentations pipeline, as `albumentations.save` writes it, that changes
    the decoded images in the workers before the engine does. Boxes are carried along."""

    antialias: bool = True
    """Whether shrinking an image averages all the pixels that a result covers. Holds for
    training, evaluation and prediction alike."""

    photometric: bool = True
    """Whether to change brightness, contrast, saturation and hue."""

    photometric_after_resize: bool = False
    """Whether to change them in the resized image and not in the image itself, as Caffe does.
    Faster on a GPU where images shrink; the results differ a little, most where pixels clamp."""

    expand_probability: float = 0.5
    """How often an image is placed on a larger canvas of the mean colour."""

    expand_max: float = 4.0
    """How many times wider and higher that canvas is at most."""

    crop: bool = True
    """Whether to crop to windows whose overlap with an object is drawn from Caffe's seven
    samplers."""

    crop_min_scale: float = 0.3
    """Side of the smallest crop window, before its aspect ratio, relative to the image."""

    flip_probability: float = 0.5
    """How often an image is mirrored left to right."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits(
            "augment",
            self,
            expand_probability=(0, 1),
            expand_max=(1, 16),
            crop_min_scale=(0.05, 1),
            flip_probability=(0, 1),
        )
        unused = self.engine == "none" and self.library is not None
        require(not unused, "augment.engine", "none", "library for augment.library to be applied")
