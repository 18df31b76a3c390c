"""Pascal VOC folders → Records.

    ROOT/[FOLDER/]ImageSets/Main/NAME.txt    one image stem a line; further columns are ignored
    ROOT/[FOLDER/]Annotations/STEM.xml
    ROOT/[FOLDER/]JPEGImages/STEM.jpg        or .jpeg, .png, .bmp, in upper or lower case

An image is found by its stem; `filename` and `path` in the annotation are ignored. A file that is
missing, invalid or a link out of the data is reported as a user error. A box whose xmax ≤ xmin or
ymax ≤ ymin is degenerate: VOC's corners are inclusive, so equal ones would span one pixel, but in
practice they are accidental clicks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ssd.common.errors import UserError, one_line
from ssd.common.untrusted import (
    LONGEST_NAME,
    MOST_CLASSES,
    read_regular,
    shown,
)
from ssd.data.annotations import Annotations, Listed
from ssd.data.findings import Findings, Refuse
from ssd.data.links import list_folder, real_folders, refuse_to_leave
from ssd.data.settle import settle
from ssd.data.voc_file import Annotation, read_annotation
from ssd.structures import DataSet

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
LARGEST_LIST = 1 << 28  # bytes


def read_voc(
    root: Path,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    findings: Findings | None = None,
) -> DataSet:
    """All images of `splits`, one split after another.

    Args:
        root: a VOC folder, or a folder of VOC folders.
        splits: image lists as `NAME` or `FOLDER/NAME`.
        classes: the classes in order; if None, those of the annotations, sorted.
        findings: receives the problems; if None, the first broken entry is an error.

    Raises:
        UserError: a file is missing or invalid, or an image is listed twice.
    """
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    findings = findings or Refuse()
    annotations = []
    for path, image in _listed_files(root, splits, findings):
        try:
            annotations.append(read_annotation(path, image, findings))
        except UserError as error:
            findings.broken("broken annotation", str(error))
    names = sorted({item.name for annotation in annotations for item in annotation.objects})
    classes = classes or names
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"{root}, {', '.join(splits)}: the objects have {len(classes)} classes "
            f"({shown(classes)}), but at most {MOST_CLASSES} are allowed: set data.classes"
        )
    if not classes:
        where = f"{root}, {', '.join(splits)}"
        raise UserError(f"{where}: no annotation has an object: set data.classes, or other splits")
    return settle(_to_columns(annotations, names), classes, findings)


def unlisted_files(root: Path, splits: Sequence[str]) -> dict[Path, list[str]]:
    """Names of the images and annotations that are in no image list beside them, by folder."""
    unlisted: dict[Path, list[str]] = {}
    for home in sorted({root / split.rpartition("/")[0] for split in splits}):
        listed: set[str] = set()
        for image_list in (home / "ImageSets" / "Main").glob("*.txt"):
            text = read_regular(image_list, LARGEST_LIST).decode("utf-8-sig", "replace")
            lines = text.splitlines()
            listed |= {line.split()[0] for line in lines if line.strip()}
        for name, suffixes in (("JPEGImages", IMAGE_SUFFIXES), ("Annotations", {".xml"})):
            paths = [path for path in (home / name).glob("*") if path.suffix.lower() in suffixes]
            unlisted[home / name] = sorted(path.name for path in paths if path.stem not in listed)
    return {folder: names for folder, names in unlisted.items() if names}


def _listed_files(
    root: Path, splits: Sequence[str], findings: Findings
) -> Iterator[tuple[Path, Path]]:
    """Yields the annotation file and the image file of every listed image, in order."""
    listed_in: dict[str, Path] = {}
    for split in splits:
        folder, _, name = split.rpartition("/")
        home = root / folder
        image_list = home / "ImageSets" / "Main" / f"{name}.txt"
        if not image_list.is_file():
            have = ", ".join(_available_splits(root)) or "no list at all"
            raise UserError(f"{image_list}: there is no such image list; {root} has {have}")
        images = _images_by_stem(home / "JPEGImages", findings)
        folders = home / "JPEGImages", home / "Annotations"
        links = set[Path]().union(*map(_links_in, folders))
        homes = real_folders(root, *folders)
        for stem in _read_stems(image_list):
            shown_stem = stem[:LONGEST_NAME]
            if stem in listed_in:
                both = f"in {listed_in[stem]} and in {image_list}"
                twice = f"{shown_stem} is listed twice, {both}: use every image only once"
                findings.broken("listed twice", twice)
                continue
            listed_in[stem] = image_list
            if stem not in images:
                missing = f"{image_list}: {shown_stem} has no image in {home / 'JPEGImages'}"
                findings.broken("missing image", missing)
                continue
            files = home / "Annotations" / f"{stem}.xml", images[stem]
            try:
                for link in links.intersection(files):
                    refuse_to_leave(link, homes)
            except ValueError as error:
                findings.broken("link outside the data", str(error))
                continue
            yield files


def _available_splits(root: Path) -> list[str]:
    lists = [*root.glob("ImageSets/Main/*.txt"), *root.glob("*/ImageSets/Main/*.txt")]
    return sorted(str(path.relative_to(root).parents[2] / path.stem) for path in lists)


def _images_by_stem(folder: Path, findings: Findings) -> dict[str, Path]:
    """The image files of a folder by stem, in one listing: 20,000 single checks are slow."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: put the images there")
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in images:
                twins = f"{images[path.stem].name} and {path.name}"
                only = f"{folder} has {twins}: only one image may have this stem"
                findings.broken("two images of one name", only)
            images[path.stem] = path
    return images


def _links_in(folder: Path) -> set[Path]:
    return {folder / name for name, is_link in list_folder(folder).items() if is_link}


def _read_stems(image_list: Path) -> list[str]:
    try:
        lines = read_regular(image_list, LARGEST_LIST).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{image_list}: cannot be read as text ({one_line(error)})") from error
    stems = [line.split()[0] for line in lines if line.strip()]
    if not stems:
        raise UserError(f"{image_list}: lists no image")
    return stems


def _to_columns(annotations: Sequence[Annotation], names: list[str]) -> Annotations:
    """The annotation files as columns."""
    category_of = {name: category for category, name in enumerate(names)}
    objects = [item for annotation in annotations for item in annotation.objects]
    corners = np.array([item.corners for item in objects], np.float64).reshape(-1, 4)

    def called(row: int) -> str:
        shown_corners = ", ".join(f"{value:g}" for value in objects[row].corners)
        return f"{objects[row].name!r} has the corners ({shown_corners})"

    return Annotations(
        images=[
            Listed(each.image.stem, each.image, each.width, each.height, each.path)
            for each in annotations
        ],
        names=names,
        image_index=np.repeat(
            np.arange(len(annotations)), [len(each.objects) for each in annotations]
        ),
        category=np.array([category_of[item.name] for item in objects], np.int64),
        corners=corners - (1, 1, 0, 0),
        sound=np.asarray((corners[:, 2:] > corners[:, :2]).all(1)),
        difficult=np.array([item.difficult for item in objects], np.bool_),
        crowd=np.zeros(len(objects), np.bool_),
        called=called,
    )
