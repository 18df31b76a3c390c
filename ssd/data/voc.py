"""Pascal VOC folders → Annotations.

    ROOT/[FOLDER/]ImageSets/Main/NAME.txt    one image a line; may have further columns
    ROOT/[FOLDER/]Annotations/PATH.xml
    ROOT/[FOLDER/]JPEGImages/PATH.jpg        or another suffix, in upper or lower case

PATH may have subfolders. Other folders may be given, and names of images or annotations in place
of a list. The annotation of an image is the file of the same PATH; where there is none, it is the
image that `filename` or `path` in the annotation name.

A box whose xmax = xmin or ymax = ymin is degenerate: VOC's corners are inclusive, so equal ones
would span one pixel, but in practice they are accidental clicks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import MOST_CLASSES, shown
from ssd.data.annotations import Annotations, Listed
from ssd.data.findings import Findings, Refuse
from ssd.data.left_out import without_broken
from ssd.data.names import image_ids
from ssd.data.settle import settle
from ssd.data.voc_file import Annotation, read_annotation
from ssd.data.voc_images import Pair, VocSplit, own_split, pairs_of
from ssd.structures import DataSet


def read_voc(
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
) -> DataSet:
    """All images of `splits` of a data set in VOC's own layout, one split after another.

    An image whose annotation gives no size counts as empty.

    Args:
        root: a VOC folder, or a folder of VOC folders.
        splits: image lists as `NAME` or `FOLDER/NAME`.
        classes: the classes in order; if None, those of the annotations, sorted.
        findings: receives the problems; if None, the first broken entry or unusable image is an
            error.

    Raises:
        UserError: a file is missing or invalid, or an image is in two lists.
    """
    refuse = Refuse()
    told = findings or refuse
    found = annotate_voc(root, [own_split(root, split) for split in splits], told)
    found = without_broken(found, told)
    if refuse.left_out:
        raise UserError(refuse.left_out[0].message)
    where = f"{root}, {', '.join(splits)}"
    if not found.images:
        raise UserError(f"{where}: no image can be used: ssd check lists why")
    return settle(found, choose_classes(where, found, classes), told)


def choose_classes(where: str, found: Annotations, classes: Sequence[str] | None) -> Sequence[str]:
    """The classes that were asked for, or all that were found.

    Raises:
        UserError: there are none, or too many.
    """
    classes = classes or found.names
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"{where}: the objects have {len(classes)} classes ({shown(classes)}), but at most "
            f"{MOST_CLASSES} are allowed: set data.classes"
        )
    if not classes:
        raise UserError(f"{where}: no annotation has an object: set data.classes, or other splits")
    return classes


def annotate_voc(
    root: Path, splits: Sequence[VocSplit], findings: Findings, background: bool = False
) -> Annotations:
    """The images of `splits` and their objects, one split after another.

    Args:
        root: the folder of the data, with the folders of all splits below it.
        splits: where the files are, and which of them to use.
        findings: receives the problems.
        background: take an image without annotation as one without objects.

    Raises:
        UserError: a folder or a list is missing or invalid.
    """
    repairs: Counter[str] = Counter()
    pairs: list[Pair] = []
    annotations: list[Annotation] = []
    for pair in pairs_of(root, splits, findings, repairs, background):
        try:
            annotation = pair.annotation or read_annotation(pair.source)
        except UserError as error:
            findings.unusable("broken annotation", str(error))
            continue
        for kind, times in annotation.repairs.items():
            repairs[kind] += times
            findings.repaired(kind, f"{pair.source}: {kind}" + (f", {times:,} times" * (times > 1)))
        pairs.append(pair)
        annotations.append(annotation)
    ids = image_ids(root, [pair.image for pair in pairs])
    images = [
        Listed(image_id, pair.image, each.width, each.height, each.path)
        for image_id, pair, each in zip(ids, pairs, annotations, strict=True)
    ]
    return _to_columns(images, annotations, repairs)


def _to_columns(
    images: list[Listed], annotations: Sequence[Annotation], repairs: Counter[str]
) -> Annotations:
    """The annotation files as columns."""
    objects = [item for annotation in annotations for item in annotation.objects]
    names = sorted({item.name for item in objects})
    category_of = {name: category for category, name in enumerate(names)}
    written = np.array([item.corners for item in objects], np.float64).reshape(-1, 4)
    starts, ends = written[:, :2], written[:, 2:]
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)

    def called(row: int) -> str:
        shown_corners = ", ".join(f"{value:g}" for value in objects[row].corners)
        return f"{objects[row].name!r} has the corners ({shown_corners})"

    return Annotations(
        images=images,
        names=names,
        image_index=np.repeat(
            np.arange(len(annotations)), [len(each.objects) for each in annotations]
        ),
        category=np.array([category_of[item.name] for item in objects], np.int64),
        corners=np.hstack([low - 1, high]),
        sound=np.asarray((high > low).all(1)),
        difficult=np.array([item.difficult for item in objects], np.bool_),
        crowd=np.zeros(len(objects), np.bool_),
        called=called,
        swapped=ends < starts,
        repairs=repairs,
        broken={at: each.broken for at, each in enumerate(annotations) if each.broken},
    )
