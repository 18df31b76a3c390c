"""Finds the images and annotations of a VOC data set, and which of them belong together."""

from __future__ import annotations

import contextlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.untrusted import LONGEST_NAME
from ssd.data.findings import Collect, Findings
from ssd.data.links import OutsideError
from ssd.data.lists import read_lines, without_columns
from ssd.data.names import IMAGE_SUFFIXES, FileIndex, Found
from ssd.data.voc_file import Annotation, read_annotation

LISTED_TWICE = "listed twice in one list"
OTHER_STEM = "image named by its annotation alone"


@dataclass(frozen=True)
class VocSplit:
    """The places of the files of one split, and which of them to use.

    Attributes:
        images: a folder.
        annotations: a folder, which may be the same.
        source: the list of images, one a line; or what to call the origin of `entries`.
        entries: the names or paths of images or annotations, in place of a list.
        pictures: further images, in which only a lack of an annotation counts.
    """

    images: Path
    annotations: Path
    source: Path
    entries: Sequence[str] | None = None
    pictures: Sequence[str] = ()


@dataclass(frozen=True)
class Pair:
    """An image file, and the file of its annotation; `annotation` is that file if it is read."""

    image: Path
    source: Path
    annotation: Annotation | None = None


def own_split(root: Path, split: str) -> VocSplit:
    """The split `NAME` or `FOLDER/NAME` of a data set in VOC's own layout.

    Raises:
        UserError: there is no such list.
    """
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    folder, _, name = split.rpartition("/")
    home = root / folder
    image_list = home / "ImageSets" / "Main" / f"{name}.txt"
    if not image_list.is_file():
        have = ", ".join(list_splits(root)) or "no list at all"
        raise UserError(
            f"{image_list}: there is no such image list; set data.train_split and data.eval_split "
            f"to those that {root} has: {have}"
        )
    return VocSplit(home / "JPEGImages", home / "Annotations", image_list)


def list_splits(root: Path) -> list[str]:
    """The splits of a data set in VOC's own layout, as `own_split` takes them."""
    lists = [*root.glob("ImageSets/Main/*.txt"), *root.glob("*/ImageSets/Main/*.txt")]
    return sorted(str(path.relative_to(root).parents[2] / path.stem) for path in lists)


def pairs_of(
    root: Path,
    splits: Sequence[VocSplit],
    findings: Findings,
    repairs: Counter[str],
    background: bool,
) -> Iterator[Pair]:
    """Yields the images of all splits in order, each of them once.

    Images that cannot be used are reported to `findings`; `repairs` counts how names were found.

    Raises:
        UserError: a folder or a list is missing or invalid.
    """
    listed_in: dict[Path, int] = {}
    files = _Files(root)
    for number, split in enumerate(splits):
        for folder, what in ((split.images, "images"), (split.annotations, "annotations")):
            if not folder.is_dir():
                raise UserError(
                    f"{folder} is not a folder: put the {what} there, or set data.{what}"
                )
        finder = _Finder(split, *files.of(split), findings, background)
        mended: dict[str, list[str]] = {}
        for entry in finder.entries():
            finder.mended.clear()
            pair = finder.pair(entry)
            if pair is None:
                continue
            first = listed_in.setdefault(pair.image, number)
            if first != number:
                both = f"in {splits[first].source} and in {split.source}"
                twice = f"{_short(entry)} is listed twice, {both}: use every image only once"
                findings.broken("listed twice", twice)
            elif pair.image in finder.seen:
                mended.setdefault(LISTED_TWICE, []).append(entry)
            else:
                finder.seen.add(pair.image)
                for kind in finder.mended:
                    mended.setdefault(kind, []).append(entry)
                yield pair
        for picture in split.pictures:
            path = split.images / picture
            if path not in listed_in and (pair := finder.pair(picture, is_listed=False)):
                listed_in[path] = number
                yield pair
        for kind, entries in mended.items():
            repairs[kind] += len(entries)
            more = f" and {len(entries) - 1} more" * (len(entries) > 1)
            findings.repaired(kind, f"{split.source}: {kind}: {_short(entries[0])}{more}")


def unlisted_files(root: Path, splits: Sequence[str]) -> dict[Path, list[str]]:
    """The images and annotations that are in no image list beside them, by folder."""
    unlisted: dict[Path, list[str]] = {}
    files = _Files(root)
    for home in sorted({root / split.rpartition("/")[0] for split in splits}):
        lists = list((home / "ImageSets" / "Main").glob("*.txt"))
        if not lists:
            continue
        listed: set[str] = set()
        split = VocSplit(home / "JPEGImages", home / "Annotations", home)
        images, annotations = files.of(split)
        for image_list in lists:
            finder = _Finder(replace(split, source=image_list), images, annotations, Collect())
            with contextlib.suppress(UserError):
                for entry in finder.entries():
                    path = finder.named(entry)
                    folder = split.annotations if _is_xml(entry) else split.images
                    listed.add(_below(path, folder) if path else entry)
        for folder, index in ((split.images, images), (split.annotations, annotations)):
            start = f"{folder.relative_to(index.root).as_posix()}/".removeprefix("./")
            names = [name[len(start) :] for name in sorted(index.files) if name.startswith(start)]
            unlisted[folder] = [name for name in names if posixpath.splitext(name)[0] not in listed]
    return {folder: names for folder, names in unlisted.items() if names}


class _Files:
    """The images and the annotations below some folders, each listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._indices: dict[tuple[Path, bool], FileIndex] = {}

    def of(self, split: VocSplit) -> tuple[FileIndex, FileIndex]:
        """The index of the images and that of the annotations."""
        return self._index(split.images, True), self._index(split.annotations, False)

    def _index(self, folder: Path, images: bool) -> FileIndex:
        home = self._root if folder.is_relative_to(self._root) else folder
        if (home, images) not in self._indices:
            suffixes = IMAGE_SUFFIXES if images else {".xml"}
            self._indices[home, images] = FileIndex(home, suffixes)
        return self._indices[home, images]


@dataclass
class _Finder:
    """Finds the files of one split; `mended` has the repairs that the last entry needed."""

    split: VocSplit
    images: FileIndex
    annotations: FileIndex
    findings: Findings
    background: bool = False
    seen: set[Path] = field(default_factory=set)
    mended: set[str] = field(default_factory=set)

    def entries(self) -> Sequence[str]:
        """The names in the list, without its columns."""
        if self.split.entries is not None:
            return self.split.entries
        return without_columns(read_lines(self.split.source), self.named)

    def pair(self, entry: str, is_listed: bool = True) -> Pair | None:
        """The files of one entry, or None if it cannot be used, which is reported."""
        try:
            return self._annotated(entry) if _is_xml(entry) else self._listed(entry, is_listed)
        except UserError as error:
            self.findings.unusable("broken annotation", str(error))
        except OutsideError as error:
            self.findings.unusable("link outside the data", f"{self.split.source}: {error}")
        except ValueError as error:
            self.findings.unusable("ambiguous name", f"{self.split.source}: {error}")
        return None

    def named(self, entry: str) -> Path | None:
        """The image or the annotation that an entry names, if that is clear."""
        index, folder = self.images, self.split.images
        if _is_xml(entry):
            index, folder = self.annotations, self.split.annotations
        with contextlib.suppress(ValueError):
            if found := index.find(entry, [folder]):
                return found.path
        return None

    def _listed(self, entry: str, is_listed: bool) -> Pair | None:
        """The entry names an image, or at least the stem of an annotation."""
        if not is_listed and self._partner(self.split.images / entry, is_image=True):
            return None  # its annotation was an entry of its own
        image = self._take(self.images.find(entry, [self.split.images]))
        if image is None:
            found = self.annotations.find(entry, [self.split.annotations])
            if found:
                return self._annotated(entry)
            self._report_missing(entry)
            return None
        if source := self._partner(image, is_image=True):
            return Pair(image, source)
        expected = self.split.annotations / f"{_below(image, self.split.images)}.xml"
        if self.background:
            return Pair(image, expected, Annotation(expected, 0, 0, [], [], Counter()))
        self.findings.unusable(
            "missing annotation",
            f"{image}: the annotation cannot be read ({expected} does not exist): add it, "
            f"{'take the image out of the list' if is_listed else 'move the image elsewhere'}, or "
            "set data.background true if it shows no object",
        )
        return None

    def _annotated(self, entry: str) -> Pair | None:
        """The entry names an annotation."""
        source = self._take(self.annotations.find(entry, [self.split.annotations]))
        if source is None:
            self._report_missing(entry)
            return None
        if image := self._partner(source, is_image=False):
            return Pair(image, source)
        annotation = read_annotation(source)
        for name in annotation.image_names:
            if found := self.images.find(name, [self.split.images]):
                self.mended.add(OTHER_STEM)
                return Pair(found.path, source, annotation)
        self._report_missing(entry)
        return None

    def _report_missing(self, entry: str) -> None:
        self.findings.unusable(
            "missing image",
            f"{self.split.source}: {_short(entry)} has no image in {self.split.images}: add it, or "
            "take it out of the list",
        )

    def _partner(self, path: Path, is_image: bool) -> Path | None:
        """The annotation of an image, or the image of an annotation, by their paths.

        If it is not at the same path, it has to be the partner of no other file.
        """
        sides = (self.images, self.split.images), (self.annotations, self.split.annotations)
        (ours, folder), (others, other_folder) = sides if is_image else sides[::-1]
        found = others.find(_below(path, folder), [other_folder])
        if found and found.repair:
            back = ours.find(_below(found.path, other_folder), [folder])
            if not back or back.path != path:
                return None
        return self._take(found)

    def _take(self, found: Found | None) -> Path | None:
        if found and found.repair:
            self.mended.add(found.repair)
        return found and found.path


def _is_xml(entry: str) -> bool:
    return entry.lower().endswith(".xml")


def _below(path: Path, folder: Path) -> str:
    """A file without suffix, as it is called in its folder."""
    text, start = path.as_posix(), f"{folder.as_posix()}/"  # ten times as fast as relative_to
    below = text[len(start) :] if text.startswith(start) else path.name
    return below.removesuffix(path.suffix)


def _short(entry: str) -> str:
    return entry[:LONGEST_NAME]
