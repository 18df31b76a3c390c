"""A summary of a run, printed before its first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ssd.augment.batch import finds_compiler
from ssd.common.sides import in_words
from ssd.common.words import counted
from ssd.config import Config
from ssd.data.doubts import loud_doubt
from ssd.data.findings import repairs_line
from ssd.data.num_workers import workers_line
from ssd.run.changes import Change
from ssd.structures import DataSet
from ssd.training.build import Parts
from ssd.training.ranks import world_size
from ssd.training.step import image_losses

SHOWN_CLASSES = 25
INDENT = 10


def summary(config: Config, run_dir: Path, parts: Parts, changes: Sequence[Change] = ()) -> str:
    """The run about to start, in a few lines; `changes` are those that a resume has made."""
    data, order, model = parts.train_data, parts.order, parts.detector.model
    both = [data] if parts.eval_data is None else [data, parts.eval_data]
    repairs = sum((Counter(one.repairs) for one in both), Counter[str]())
    cautions = [loud_doubt(one.doubt) for one in both] + [one.missing for one in both]
    cautions.append(trained_on(data, parts.eval_data))
    changed = [f"{count} {name}" for name, count in data.counts.items() if count]
    if data.unlabelled:
        changed.append(f"{counted(data.unlabelled, 'image')} without a label file")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    pyramid = f" with a pyramid of {width} channels" if (width := config.model.pyramid) else ""
    frozen = ", backbone frozen" if config.model.freeze == "backbone" else ""
    dtype = parts.settings.dtype
    numbers = "fp32" if dtype is None else str(dtype).removeprefix("torch.")
    ranks = f", {world_size()} ranks" if world_size() > 1 else ""
    floor = " (training.min_steps)" if parts.length.is_extended else ""
    way = ", compiled" if parts.state.image_losses is not image_losses else ""
    way += ", as CUDA graphs" if parts.graphs else ""
    base, optimizer = config.optimizer, parts.optimizer_config
    scaled = f"{optimizer.lr:g}: {base.lr:g} x {counted(order.images_per_step, 'image')} a step"
    lines = {
        "data": f"{counted(len(data.records), 'image')} to train on ({', '.join(changed)}), "
        f"{len(parts.eval_data.records) if parts.eval_data else 'none'} to evaluate on",
        "mended": repairs_line(repairs),
        "caution": " / ".join(filter(None, cautions)),
        "cache": parts.feed.cache_line,
        "workers": workers_line(
            config.data.workers, parts.device.type, parts.feed.device_cache is None
        ),
        "classes": class_counts(parts.objects_per_class),
        "rare": rare_classes(parts),
        "model": f"{config.model.backbone}{pyramid} at {in_words(config.model.input_size)} pixels: "
        f"{parameters / 1e6:.1f} million parameters, {len(model.default_boxes)} default boxes"
        f"{frozen}",
        "boxes": parts.boxes_from,
        "weights": parts.starts_from,
        "training": f"{steps_left(parts.state.step, parts.length.last_step)}{floor}, "
        f"{order.steps_per_epoch} an epoch, on {parts.device} in {numbers}{ranks}{way}",
        "augment": ""
        if parts.device.type == "cpu" or finds_compiler()
        else "without its fused kernel, slower: Triton finds no C compiler: install gcc or set CC",
        "mixing": mixing(config, parts.feed.closing_epoch),
        "closing": closing(config, parts.feed.closing_epoch),
        "changed": f"\n{' ' * INDENT}".join(map(str, changes)),
        "lr": "" if base.lr_images is None else f"{scaled} / {base.lr_images}",
        "results": str(run_dir),
    }
    return "\n".join(f"{name:<{INDENT}}{line}" for name, line in lines.items() if line)


def mixing(config: Config, closing_epoch: int | None) -> str:
    """The share of the images with mosaic and mixup, and for how long; else nothing."""
    augment = config.augment
    if not augment.mixes:
        return ""
    if closing_epoch == 0:
        return "no mosaic and no mixup: augment.closing_share is the whole training"
    if config.training.batch_size == 1:
        return "no mosaic and no mixup: a batch of one image (training.batch_size) has no others"
    end = "" if closing_epoch is None else f", in the first {counted(closing_epoch, 'epoch')}"
    return f"mosaic {augment.mosaic_probability:g}, mixup {augment.mixup_probability:g}{end}"


def closing(config: Config, closing_epoch: int | None) -> str:
    """The epochs that show whole images; nothing if there are none."""
    augment = config.augment
    if augment.closing_share == 0:
        return ""
    if augment.engine == "library":
        return "augment.closing_share does nothing: it needs augment.engine device"
    changes = augment.mixes or augment.crop or augment.expand_probability
    if augment.engine == "none" or not changes:
        return "augment.closing_share has nothing to close"
    if closing_epoch is None:
        return "no whole images at the end: the training is too short for augment.closing_share"
    but = "" if augment.library is None else ", but for the transforms of augment.library"
    return f"whole images from epoch {closing_epoch + 1} on (augment.closing_share){but}"


def trained_on(train: DataSet, evaluation: DataSet | None) -> str:
    """A warning where a run evaluates on images that it trains on; else nothing."""
    if evaluation is None:
        return ""
    paths = {record.path for record in train.records}
    both = sum(record.path in paths for record in evaluation.records)
    images = f"{both:,} of the {counted(len(evaluation.records), 'image')}"
    return f"trains on {images} that it evaluates on (data.eval_split)" if both else ""


def rare_classes(parts: Parts) -> str:
    """The classes whose objects count more than once, with their weights; else nothing."""
    weights_C = parts.settings.class_weights
    if weights_C is None:
        return ""
    named = zip(parts.train_data.classes, weights_C[1:].tolist(), strict=True)
    rare = sorted((pair for pair in named if pair[1] > 1), key=lambda pair: -pair[1])
    shown = ", ".join(f"{name} x {weight:.2g}" for name, weight in rare[:SHOWN_CLASSES])
    more = f" and {len(rare) - SHOWN_CLASSES} more" if len(rare) > SHOWN_CLASSES else ""
    return f"{shown}{more}: weights of the objects" if rare else "no class is rare"


def class_counts(objects: dict[str, int]) -> str:
    """The classes with their object counts; the most frequent ones if there are many."""
    most = sorted(objects.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    shown = objects if len(objects) <= SHOWN_CLASSES else dict(most)
    more = f" and {len(objects) - len(shown)} more" if len(shown) < len(objects) else ""
    return ", ".join(f"{name} ({count})" for name, count in shown.items()) + more


def steps_left(done: int, last: int) -> str:
    """The steps that a run still takes, in words."""
    if done >= last:
        return f"all {counted(last, 'step')} are done, the last evaluation is left"
    return f"steps {done + 1} to {last}"
