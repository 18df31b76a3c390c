"""The layouts of VOC and COCO, by the files that lie below a root."""

from __future__ import annotations

import itertools
import json
import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ssd.config import DataConfig
from ssd.data.names import IMAGE_SUFFIXES
from ssd.data.survey import (
    WORDS,
    Folder,
    Role,
    Survey,
    given_folder,
    key,
    role_of,
    roles_up,
)

HEAD = 1 << 16  # bytes that tell what a file is
WHOLE = 1 << 26  # bytes up to which a JSON file is searched from end to end
MOST_JSON = 50  # in a folder with more, each belongs to one image
OTHER_COCO = ("captions", "panoptic", "image_info", "stuff", "person_keypoints")
ROBOFLOW = "_annotations.coco.json"
COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')
FEW = 20


@dataclass(frozen=True)
class Layout:
    """The form of data that a folder is taken for.

    Attributes:
        format: of its annotations.
        what: the same in words.
        splits: each as `data.train_split` takes it, and the role that its name tells.
        joint: splits of the same role belong together.
        lost: image lists none of whose images is there.
        gone: by its role, what a description says of a split that is not there.
    """

    format: Literal["voc", "coco", "yolo"]
    what: str
    splits: Mapping[str, Role]
    joint: bool = True
    lost: Sequence[Path] = ()
    gone: Mapping[Role, str] = field(default_factory=dict)


def find_voc(root: Path, found: Survey, config: DataConfig) -> Layout | None:
    """VOC's own layout, XML files in a folder of their own or beside the images."""
    folders = [
        folder
        for folder, files in found.items()
        if files.xml and is_in(root, folder, config.annotations)
    ]
    sound = [folder for folder in folders if _is_voc(root, folder)]
    if not sound:
        return None
    images = set[str]().union(*(files.images for files in found.values()))
    folders = [  # broken files of a split beside sound ones: its reader tells what is wrong
        folder
        for folder in folders
        if folder in sound or (roles_up(folder)[1] and found[folder].xml & images)
    ]
    stems = set[str]().union(*(found[folder].xml for folder in folders))
    lists, lost = _lists(root, found, stems)
    if lists:
        return Layout("voc", "Pascal VOC with image lists", lists, lost=lost)
    beside = any(found[folder].xml & found[folder].images for folder in folders)
    where = "beside the images" if beside else "in folders of their own"
    what = f"Pascal VOC without {'usable ' if lost else ''}lists, XML files {where}"
    return Layout("voc", what, tops(folders), lost=lost)


def is_in(root: Path, folder: PurePosixPath, wanted: str | None) -> bool:
    """Returns whether a folder is the one that a setting names, or below it."""
    return wanted is None or folder.is_relative_to(given_folder(root, wanted).relative_to(root))


def _is_voc(root: Path, folder: PurePosixPath) -> bool:
    with os.scandir(root / folder) as entries:
        files = (Path(entry.path) for entry in entries if entry.name.lower().endswith(".xml"))
        few = list(itertools.islice(files, FEW))
    return any(re.search(rb"<annotation[\s>]", ends_of(one).replace(b"\0", b"")) for one in few)


def ends_of(path: Path, most: int = HEAD) -> bytes:
    """The first and the last bytes of a file; nothing of one that cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            start = file.read(most)
            file.seek(max(len(start), path.stat().st_size - most))
            return start + file.read(most)
    except OSError:
        return b""


def _lists(root: Path, found: Survey, stems: set[str]) -> tuple[dict[str, Role], list[Path]]:
    """The image lists: those in `ImageSets/Main`, or else any text file that names annotations.

    Also those that name none, in `ImageSets/Main` or called after a role.
    """
    main, other, lost = {}, {}, []
    for folder, files in found.items():
        for name in files.names:
            stem, suffix = posixpath.splitext(name)
            if suffix.lower() != ".txt" or key(stem) in files.images | files.xml:
                continue
            in_main = key(folder.as_posix()).endswith("imagesets/main")
            if not _names_any(root / folder / name, stems):
                if in_main or _is_plain(stem):
                    lost.append(root / folder / name)
            elif in_main:
                main[(folder.parent.parent / stem).as_posix()] = stem
            else:
                other[(folder / name).as_posix()] = stem
    own = {split: stem for split, stem in main.items() if "/" not in split}  # of `root` itself
    lists = own or main or other
    roles: dict[str, Role] = {split: role_of(stem) for split, stem in lists.items()}
    plain = [split for split, stem in lists.items() if _is_plain(stem)]
    if plain:  # lists of a single class, such as cat_train, say nothing more
        roles = {split: role for split, role in roles.items() if split in plain or not role}
    return roles, lost


def _is_plain(stem: str) -> bool:
    """Returns whether a list is called after a role alone, as `train` and `val_2` are."""
    return re.sub(r"[\W\d_]", "", key(stem)) in WORDS


def _names_any(path: Path, stems: set[str]) -> bool:
    """Returns whether a text file names one of the annotations, in one of its first lines."""
    head = ends_of(path)
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    lines = head.decode("utf-16" if wide else "utf-8-sig", "replace").splitlines()
    return any(
        key(_bare(name)) in stems
        for line in filter(None, map(str.strip, lines))
        for name in (line, line.split()[0])
    )


def _bare(text: str) -> str:
    stem, suffix = posixpath.splitext(text.replace("\\", "/").rpartition("/")[2])
    return stem if suffix.lower() in {*IMAGE_SUFFIXES, ".xml"} else stem + suffix


def tops(folders: Iterable[PurePosixPath]) -> dict[str, Role]:
    """The folders named after a role that hold the given ones; without any, the one above all."""
    tops = [roles_up(folder) for folder in folders]
    named: dict[str, Role] = {folder.as_posix(): role for folder, role in tops if role}
    return named or {posixpath.commonpath([folder.as_posix() for folder, _ in tops]) or ".": ""}


def find_coco(root: Path, found: Survey, config: DataConfig) -> Layout | None:
    """COCO's files of objects, by their content."""
    paths = [
        path
        for folder, files in found.items()
        if is_in(root, folder, config.annotations)
        for path in _coco_files(root, folder, files)
    ]
    if not paths:
        return None
    exported = any(path.name == ROBOFLOW for path in paths)
    what = "COCO as Roboflow exports it" if exported else "COCO"
    splits: dict[str, Role] = {
        _coco_split(root, path): role_of(path.stem) or roles_up(path.parent)[1] for path in paths
    }
    return Layout("coco", what, splits, joint=False)


def _coco_files(root: Path, folder: PurePosixPath, files: Folder) -> list[PurePosixPath]:
    """The files of objects in a folder, and those that are meant to be some but are damaged.

    Without the latter, other images would be evaluated on in the place of theirs.
    """
    names = [name for name in files.names if name.lower().endswith(".json")]
    if len(names) > MOST_JSON:
        return []
    names = [name for name in names if not name.startswith(OTHER_COCO)]
    names = [name for name in names if name.startswith("instances")] or names
    sound = {name for name in names if _is_coco(root / folder / name)}
    return [
        folder / name
        for name in names
        if name in sound or _is_damaged_coco(root / folder / name, beside_sound=bool(sound))
    ]


def _is_coco(path: Path) -> bool:
    content, is_whole = _json_of(path)
    keys = [key in content for key in COCO_KEYS]
    return content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and (
        all(keys) or (not is_whole and sum(keys) > 1)
    )


def _json_of(path: Path) -> tuple[bytes, bool]:
    """The content of a JSON file, or the ends of a large one, and whether it is the whole."""
    size = path.stat().st_size
    return ends_of(path, WHOLE if size <= WHOLE else HEAD), size <= WHOLE


def _is_damaged_coco(path: Path, *, beside_sound: bool) -> bool:
    """Returns whether a file that is no sound annotation file has the name of one.

    The name of a role is enough beside a sound file, if the content is not that of another file.
    """
    content, is_whole = _json_of(path)
    if content.lstrip().startswith(b"["):  # detections
        return False
    if path.name.startswith("instances_") or path.name == ROBOFLOW:
        return True
    if not (beside_sound and is_whole and role_of(path.stem)):
        return False
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return True
    return _is_plain(path.stem) or any(key in content for key in COCO_KEYS)


def _coco_split(root: Path, path: PurePosixPath) -> str:
    """COCO's own name of a file where the images lie as COCO's do, else its path."""
    name = path.stem.removeprefix("instances_")
    places = (root / "images" / name, root / name, root / "images")
    own = path.parent == PurePosixPath("annotations") and any(map(Path.is_dir, places))
    return name if own else path.as_posix()
