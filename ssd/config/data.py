"""Settings of the images: their location, reading and augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssd.common.errors import UserError
from ssd.common.untrusted import MOST_CLASSES, as_name
from ssd.config.limits import LARGEST, SMALLEST, check_limits, require, written

Workers = Literal["auto"] | int
AUTO = "auto"  # a setting that is found out
SHARE = "share"  # the split to evaluate on is a share of the one to train on


@dataclass(frozen=True)
class DataConfig:
    """The images, and how they are read."""

    format: Literal["auto", "voc", "coco", "yolo", "shapes"] = "shapes"
    """Format of the data: `auto` finds it out, and says what `data.root` was taken for; `voc`
    (Pascal VOC's XML files), `coco` (COCO's JSON files), `yolo` (YOLO's text files), or `shapes`,
    the embedded data set, which is drawn as a VOC folder on first use. A `data.root` without a
    format beside it means `auto`."""

    root: str = "datasets/shapes"
    """The folder of the data, as the tool that made it left it. `~` is your home folder."""

    train_split: str | list[str] = "auto"
    """The split to train on, or several, as in `[VOC2007/trainval, VOC2012/trainval]`. `auto`
    finds it by its name, with `data.eval_split`: `trainval` where there is `test`, else `train`,
    else all images. VOC: the name of an image list in `ImageSets/Main`; `VOC2007/trainval` is the
    list `trainval` of the folder `VOC2007` below `data.root`. COCO: `train2017` is
    `annotations/instances_train2017.json` with the images in `images/train2017`; a path that ends
    in `.json` is that file below `data.root`, with the images beside it. YOLO: a split of
    `data.yaml`. VOC and YOLO: or the path of a folder or of a list file (`.txt`) below
    `data.root`."""

    eval_split: str | list[str] | None = "auto"
    """The split to evaluate on, or several, written like `data.train_split`. `auto` finds it by
    its name: `test` with `trainval`, else `val`, else `test`, else `share`. `share` keeps
    `data.eval_share` of the training images for evaluation. `null` trains without evaluation."""

    images: str | None = None
    """Folder of the images below `data.root`; by default, it is found."""

    annotations: str | None = None
    """Folder of the annotations below `data.root`; by default, it is found."""

    eval_share: float = 0.2
    """Share (0 … 1) of the training images that `data.eval_split share` evaluates on; stays as it
    was when a run resumes."""

    split_seed: int = 0
    """Seed of `data.eval_split share`. The run folder keeps which images were chosen, and a resumed
    run evaluates on the same ones."""

    background: bool = False
    """Take an image that has no annotation file for background. Only VOC asks: YOLO always does,
    and COCO lists images without objects."""

    classes: list[str] | None = None
    """Names of the classes to detect, in order. By default, those of the training annotations:
    VOC's sorted by name, COCO's by id. Objects of other classes are left out and counted."""

    train_difficult: bool = True
    """Train on objects that VOC marks `difficult` too, as Caffe does. Evaluation never counts
    them. COCO's crowds are never trained on."""

    workers: Workers = "auto"
    """Processes per rank that decode images; 0 decodes in the training process. `auto` goes by the
    cores that the run may use, its ranks on the machine, and whether it computes on a GPU."""

    cache: Literal["auto", "none", "host", "device"] = "auto"
    """Place to keep decoded training images for later epochs: `none`, `host` (the memory of each
    machine, shared by its ranks) or `device` (the memory of each GPU). `auto` takes `device`, else
    `host`, where the whole set fits into half of the memory that is free, and otherwise `none`."""

    cache_gb: float | None = None
    """Maximum size of `data.cache` in 10^9 bytes; by default, half of the memory that is free. An
    image takes 3 x width x height bytes, COCO's train2017 about 100 GB. With `host`, images that do
    not fit are decoded in every epoch; `device` needs room for the whole set."""

    max_unreadable: float = 0.01
    """Largest share (0 … 1) of the images that may be missing or unreadable and are left out, for
    training and evaluation each; one always may. Above it, the run stops. An evaluation leaves
    out every image that turns out to be damaged only when it is decoded."""

    exif: Literal["turn", "stored"] = "turn"
    """Pixels of images with an Exif orientation: `turn` turns them as viewers and annotation tools
    do, `stored` leaves them. Boxes are taken in the frame that the annotation's size describes,
    which may be the stored or the turned image, and turned with the pixels."""

    max_mended: float = 0.1
    """Largest share (0 … 1) of objects whose boxes make no sense: without area, outside the image
    or far across its border, or with swapped corners. Above it, training does not start; one is
    always allowed."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits(
            "data",
            self,
            workers=(0, 256),
            cache_gb=(SMALLEST, LARGEST),
            max_unreadable=(0, 1),
            max_mended=(0, 1),
            eval_share=(SMALLEST, 1),
            split_seed=(0, LARGEST),
        )
        if self.classes is not None:
            rule = f"a list of different names, at most {MOST_CLASSES}"
            listed = isinstance(self.classes, list) and len(self.classes) <= MOST_CLASSES
            require(listed, "data.classes", written(self.classes), rule)
            try:
                names = {as_name("a name in data.classes", one) for one in self.classes}
            except ValueError as problem:
                raise UserError(str(problem)) from None
            require(
                0 < len(names) == len(self.classes), "data.classes", written(self.classes), rule
            )


@dataclass(frozen=True)
class AugmentConfig:
    """Random augmentation of the training images: the chain of Caffe's SSD, with its numbers."""

    engine: Literal["device", "library", "none"] = "device"
    """`device` runs Caffe's chain on the training device. `library` runs only Albumentations, in
    the workers: the pipeline of `augment.library` or, by default, the same chain by Albumentations.
    Of the settings after `augment.library`, it uses only `augment.antialias`. `none` only
    resizes. Mosaic and mixup need `device`."""

    library: str | None = None
    """YAML file with transforms of your own: an Albumentations pipeline, as `albumentations.save`
    writes it, or a list of torchvision's v2 transforms under the key `torchvision`. They change
    the decoded images and their boxes in the workers, before the engine does."""

    antialias: bool = True
    """When an image shrinks, average all the pixels that an output pixel covers. Applies to
    training, evaluation and prediction alike."""

    photometric: bool = True
    """Change brightness, contrast, saturation and hue at random."""

    photometric_after_resize: bool = False
    """Make the photometric changes after the resize; Caffe makes them before it. This is faster
    on a GPU if images shrink. Results differ slightly, most where pixels clamp."""

    expand_probability: float = 0.5
    """Probability that an image is placed on a larger canvas of the mean colour."""

    expand_max: float = 4.0
    """Largest ratio of the sides of that canvas to those of the image."""

    crop: bool = True
    """Crop to a random window. Caffe's seven samplers set how much the window has to overlap an
    object."""

    crop_min_scale: float = 0.3
    """Smallest side of a crop window relative to the canvas, before the aspect ratio applies."""

    flip_probability: float = 0.5
    """Probability that an image is mirrored left to right."""

    mosaic_probability: float = 0.0
    """Probability that an image meets three others of its batch at a random point, on a canvas of
    twice its sides that takes the place of the expanded one."""

    mixup_probability: float = 0.0
    """Probability that an image, or its mosaic, is blended half and half with another image of its
    batch. It keeps the objects of both."""

    closing_share: float = 0.0
    """Share of the training, at its end, that shows whole images, as detection will: without
    mosaic, mixup, expansion and crop. Transforms of `library` stay."""

    def __post_init__(self) -> None:
        """Refuses impossible settings."""
        check_limits(
            "augment",
            self,
            expand_probability=(0, 1),
            expand_max=(1, 16),
            crop_min_scale=(0.05, 1),
            flip_probability=(0, 1),
            mosaic_probability=(0, 1),
            mixup_probability=(0, 1),
            closing_share=(0, 1),
        )
        unused = self.engine == "none" and self.library is not None
        require(not unused, "augment.engine", "none", "library if augment.library is set")
        rule = "device for augment.mosaic_probability and augment.mixup_probability"
        require(self.engine == "device" or not self.mixes, "augment.engine", self.engine, rule)

    @property
    def mixes(self) -> bool:
        """Returns whether images are shown together with others of their batch."""
        return self.mosaic_probability > 0 or self.mixup_probability > 0
