"""COCO annotation files → Records.

    ROOT/annotations/instances_NAME.json   or ROOT/annotations/NAME.json
    ROOT/images/NAME/FILE_NAME             or ROOT/NAME/FILE_NAME, or ROOT/images/FILE_NAME

A split that ends in `.json` is the path of such a file below ROOT, with its images beside it.
Images without annotations are kept. A missing or invalid file is reported as a user error, with
the annotation's id. The following are not errors; they are counted in `DataSet.counts`:

- `objects`: all objects that were read, including those below.
- `other_class`: left out because the class is not in the given list.
- `crowd`: never trained on; evaluation neither counts nor penalises detections there.
- `degenerate`: left out of training because width or height is not above 0, or because the box
  lies entirely outside the image.
- `clamped`: kept, but clipped at the border of the image.

COCO's own evaluation takes boxes and areas as they are in the file: see `DataSet.truth`.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.data.coco_file import AnnotationFile, read_annotation_file
from ssd.data.findings import Findings, Refuse
from ssd.structures import CocoTruth, DataSet, IntArray, Record

COUNTED = ("objects", "other_class", "crowd", "degenerate", "clamped")


def read_coco(
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
) -> DataSet:
    """All images of `splits`, one split after another.

    Args:
        root: the folder that holds annotations and images.
        splits: `NAME`, or the path of an annotation file below `root`.
        classes: the classes in order; if None, the categories of the files, ordered by id.
        findings: receives the problems; if None, the first broken entry is an error.

    Raises:
        UserError: a file is missing or invalid, or an image is listed twice.
    """
    findings = findings or Refuse()
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    with _without_collector():
        files = [read_annotation_file(*_locate(root, split), root, findings) for split in splits]
    ids = _category_ids(files)
    names = tuple(classes or sorted(ids, key=ids.__getitem__))
    category_ids = tuple(ids.get(one) for one in names)
    if not any(category_id is not None for category_id in category_ids):
        have = shown(list(ids))
        raise UserError(f"{files[0].path} has no category {shown(names)}; it has {have}")
    label_of = {ids[one]: label for label, one in enumerate(names, start=1) if one in ids}
    counts = Counter(dict.fromkeys(COUNTED, 0))
    records: list[Record] = []
    truths: list[CocoTruth] = []
    seen: dict[str, Path] = {}
    for file in files:
        labels_N = np.array([label_of.get(one, 0) for one in file.category.tolist()], np.int64)
        truths.append(_to_truth(file, labels_N, len(records)))
        for record in _to_records(file, labels_N, counts, findings):
            if record.image_id in seen:
                both = f"{seen[record.image_id]} and {file.path}"
                raise UserError(
                    f"{both}: both have an image with the id {record.image_id}: give every split "
                    "only once; if the images differ, renumber those of one file"
                )
            seen[record.image_id] = file.path
            records.append(record)
    left_out = _left_out(files, label_of)
    return DataSet(records, names, dict(counts), category_ids, _joined(truths), left_out)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pauses Python's garbage collector, which would scan millions of new objects repeatedly.

    This reads COCO's train2017 in two thirds of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _locate(root: Path, split: str) -> tuple[Path, list[Path]]:
    """The annotation file of a split, and the folders that may hold its images."""
    if split.endswith(".json"):
        return root / split, [(root / split).parent]
    folder = root / "annotations"
    files = [folder / f"instances_{split}.json", folder / f"{split}.json"]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        have = ", ".join(sorted(file.name for file in folder.glob("*.json"))) or "no such file"
        raise UserError(f"{files[0]}: there is no such annotation file; {folder} has {have}")
    folders = [root / "images" / split, root / split, root / "images"]
    images = [one for one in folders if one.is_dir()]
    if not images:
        raise UserError(f"{folders[0]} is not a folder: put the images of {path} there")
    return path, images


def _category_ids(files: Sequence[AnnotationFile]) -> dict[str, int]:
    """The id of every category by name; all files have to agree on both."""
    ids: dict[str, int] = {}
    names: dict[int, str] = {}
    for file in files:
        for category, category_id in file.categories.items():
            same = ids.setdefault(category, category_id) == category_id
            if not same or names.setdefault(category_id, category) != category:
                where = f"{files[0].path} and {file.path}"
                raise UserError(
                    f"{where}: category {category!r} (id {category_id}) has another id or name in "
                    "one of them: files used together must use the same category ids"
                )
    if not ids:
        raise UserError(f"{files[0].path}: has no category")
    return ids


def _left_out(files: Sequence[AnnotationFile], label_of: dict[int, int]) -> dict[str, list[Path]]:
    """For each unwanted category, the file of each of its annotations."""
    left_out: dict[str, list[Path]] = {}
    for file in files:
        counts = Counter(file.category.tolist())
        for category, category_id in file.categories.items():
            count = counts[category_id]
            if category_id not in label_of and count:
                left_out.setdefault(category, []).extend([file.path] * count)
    return left_out


def _to_truth(file: AnnotationFile, labels_N: IntArray, first_image: int) -> CocoTruth:
    known = labels_N > 0
    index = file.image_index[known] + first_image
    boxes, areas, crowd = file.boxes[known], file.areas[known], file.crowd[known]
    return CocoTruth(index, labels_N[known], boxes, areas, crowd)


def _joined(parts: Sequence[CocoTruth]) -> CocoTruth:
    fields = ("image_index", "labels", "boxes", "areas", "crowd")
    return CocoTruth(*(np.concatenate([getattr(part, f) for part in parts]) for f in fields))


def _to_records(
    file: AnnotationFile, labels_N: IntArray, counts: Counter[str], findings: Findings
) -> list[Record]:
    sizes_I2 = np.array([(image.width, image.height) for image in file.images])
    corners = np.concatenate([file.boxes[:, :2], file.boxes[:, :2] + file.boxes[:, 2:]], 1)
    clamped = np.clip(corners, 0, np.tile(sizes_I2[file.image_index], 2)).astype(np.float32)
    known = labels_N > 0
    sound = (file.boxes[:, 2:] > 0).all(1) & (clamped[:, 2:] > clamped[:, :2]).all(1)
    cut = sound & (clamped != corners.astype(np.float32)).any(1)
    for kind, rows in (("degenerate", known & ~sound), ("clamped", known & cut)):
        counts[kind] += int(rows.sum())
        for row in np.flatnonzero(rows).tolist():
            bbox = ", ".join(f"{side:g}" for side in file.boxes[row].tolist())
            image = file.images[file.image_index[row]]
            findings.odd(
                f"{kind} box",
                f"{file.path}: annotation id {file.annotation_id[row]}: bbox [{bbox}] in an image "
                f"of {image.width}x{image.height}",
            )
    counts["objects"] += len(labels_N)
    counts["other_class"] += int((~known).sum())
    counts["crowd"] += int((known & file.crowd).sum())
    kept = np.flatnonzero(known & sound)
    kept = kept[np.argsort(file.image_index[kept], kind="stable")]
    ends = np.searchsorted(file.image_index[kept], np.arange(1, len(file.images)))
    return [
        Record(
            image_id=str(image.image_id),
            path=image.path,
            width=image.width,
            height=image.height,
            boxes=clamped[rows],
            labels=labels_N[rows],
            difficult=np.zeros(len(rows), np.bool_),
            crowd=file.crowd[rows],
        )
        for image, rows in zip(file.images, np.split(kept, ends), strict=True)
    ]
