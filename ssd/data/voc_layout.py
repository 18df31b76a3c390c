"""A split of VOC by its name → where its files are, in any layout."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from ssd.common.errors import UserError
from ssd.common.untrusted import shown
from ssd.data.lists import read_lines
from ssd.data.names import IMAGE_SUFFIXES, FileIndex
from ssd.data.survey import WORDS, Survey, key, role_of, roles_up, survey
from ssd.data.voc_images import VocSplit, list_splits, own_split

MARKS = {"1", "0", "-1"}  # the class of the list is in the image, hard to see, or not in it


class VocFolders:
    """The folders of a VOC data set.

    Args:
        root: the folder of the data, which exists.
        images: the folder of the images, if it is given.
        annotations: the folder of the annotations, if it is given.
    """

    def __init__(self, root: Path, images: Path | None, annotations: Path | None) -> None:
        self.root, self.images, self.annotations = root, images, annotations

    def splits(self, names: Sequence[str]) -> list[VocSplit]:
        """The named splits; lists of single classes that belong together are one split.

        Raises:
            UserError: there is no such list or folder.
        """
        groups: dict[str, list[str]] = {}
        for name in names:
            folder, _, stem = name.rpartition("/")
            role = role_of(stem)
            is_of_class = role and key(stem) not in WORDS and self._main_list(name)
            groups.setdefault(f"{folder}/*_{role}" if is_of_class else name, []).append(name)
        return [
            self.split(group[0]) if len(group) == 1 else self._classwise(group)
            for group in groups.values()
        ]

    def _classwise(self, names: Sequence[str]) -> VocSplit:
        """The images of lists that each mark those of one class with 1 and all others with -1."""
        parts = [self.split(name) for name in names]
        lines = [line.split() for part in parts for line in read_lines(part.source)]
        entries = [" ".join(words[:-1] if words[-1] in MARKS else words) for words in lines]
        return replace(parts[0], entries=list(dict.fromkeys(entries)))

    def split(self, name: str) -> VocSplit:
        """The split `NAME` or `FOLDER/NAME` of an image list, `LIST.txt`, or a folder.

        Raises:
            UserError: there is none of these.
        """
        path = self.root / name
        if listed := self._main_list(name):
            home = listed.parent.parent.parent
            return self._listed(listed, home)
        if path.suffix == ".txt" and path.is_file():
            return self._listed(path, path.parent)
        if path.is_dir() and not Path(name).is_absolute() and ".." not in Path(name).parts:
            return self._folder(path)
        return own_split(self.root, name)  # tells what is missing

    def _main_list(self, name: str) -> Path | None:
        folder, _, stem = name.rpartition("/")
        for main in (self.root / folder).glob("[iI]mage[sS]ets/[mM]ain"):
            if (main / f"{stem}.txt").is_file():
                return main / f"{stem}.txt"
        return None

    def _listed(self, image_list: Path, home: Path) -> VocSplit:
        own = home / "JPEGImages", home / "Annotations"
        images, annotations = self.images or own[0], self.annotations or own[1]
        if images.is_dir() and annotations.is_dir():
            return VocSplit(images, annotations, image_list)
        annotated = self._stems(self.annotations or home)
        if not annotated and home != self.root:
            annotated = self._stems(self.root)
        annotations = self.annotations or self._above(annotated)
        return VocSplit(self.images or self._images(annotated, home), annotations, image_list)

    def _folder(self, folder: Path) -> VocSplit:
        annotated = self._stems(folder)
        if not annotated:
            raise UserError(
                f"{folder}: has no annotation (*.xml): set data.train_split and data.eval_split to "
                f"folders that do, or to lists: {shown(list_splits(self.root)) or 'there are none'}"
            )
        annotations = self._above(annotated)
        images = self.images or self._images(annotated, folder)
        files = FileIndex(annotations, {".xml"}).below(annotations)
        entries = [path.relative_to(annotations).as_posix() for path in files]
        pictures = FileIndex(images, IMAGE_SUFFIXES).below(images)
        role = roles_up(PurePosixPath(images.relative_to(self.root)))[1]
        if not (role or images.is_relative_to(folder)):  # other splits may have images there
            others = [own.xml for path, own in self.survey.items() if path not in annotated]
            elsewhere = set[str]().union(*others)
            pictures = [path for path in pictures if key(path.stem) not in elsewhere]
        names = [path.relative_to(images).as_posix() for path in pictures]
        return VocSplit(images, annotations, folder, entries, names)

    def _stems(self, folder: Path) -> dict[PurePosixPath, set[str]]:
        """The folders with annotations in or below `folder`, with their stems."""
        inside = PurePosixPath(folder.relative_to(self.root))
        return {
            path: files.xml
            for path, files in self.survey.items()
            if files.xml and path.is_relative_to(inside)
        }

    def _images(self, annotated: dict[PurePosixPath, set[str]], home: Path) -> Path:
        """The folder of the images that have the names of the annotations."""
        stems = set[str]().union(*annotated.values())
        having = [path for path, files in self.survey.items() if files.images & stems]
        roles = {roles_up(path)[1] for path in annotated}
        inside = PurePosixPath(home.relative_to(self.root))
        for wanted in (
            [path for path in having if path in annotated],
            [path for path in having if path.is_relative_to(inside)],
            [path for path in having if roles_up(path)[1] in roles],
        ):
            if wanted:
                return self._above(wanted)
        return self._above(having) if having else self._above(annotated)

    def _above(self, folders: Collection[PurePosixPath]) -> Path:
        """The innermost folder that holds all of the given ones."""
        names = [folder.as_posix() for folder in folders] or ["."]
        return self.root / posixpath.commonpath(names)

    @cached_property
    def survey(self) -> Survey:
        """The files by folder."""
        return survey(self.root)
