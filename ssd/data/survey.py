"""The files below the root of a data set by folder, and the roles that names of splits tell."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from ssd.common.errors import UserError
from ssd.data.names import IMAGE_SUFFIXES, FileIndex

Role = Literal["train", "trainval", "val", "test", ""]

DESCRIPTIONS = {".yaml", ".yml", ".data", ".names", ".labels"}
WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training"), "train"),
    "trainval": "trainval",
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass
class Folder:
    """The files of a folder.

    Attributes:
        images: stems of its images, as `key` makes them.
        xml: the same of its XML files.
        txt: the same of its text files.
        names: of its files that are neither images nor XML.
    """

    images: set[str] = field(default_factory=set)
    xml: set[str] = field(default_factory=set)
    txt: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)


Survey = dict[PurePosixPath, Folder]


def survey(root: Path) -> Survey:
    """The folders with images, annotations or lists, by their path below `root`, in order."""
    found: Survey = {}
    suffixes = {*IMAGE_SUFFIXES, ".xml", ".txt", ".json", *DESCRIPTIONS}
    for path in FileIndex(root, suffixes).below(root):
        folder = found.setdefault(PurePosixPath(path.parent.relative_to(root)), Folder())
        stem, suffix = os.path.splitext(path.name)
        if suffix.lower() in IMAGE_SUFFIXES:
            folder.images.add(key(stem))
        elif suffix.lower() == ".xml":
            folder.xml.add(key(stem))
        else:
            folder.names.append(path.name)
            if suffix.lower() == ".txt":
                folder.txt.add(key(stem))
    return found


def key(name: str) -> str:
    """The form in which names are compared: composed, and without upper and lower case."""
    return unicodedata.normalize("NFC", name).casefold()


def role_of(name: str) -> Role:
    """The role of a split by the last word of its name that is one: `cat_train2017` is train."""
    words = re.findall(r"(?i:trainval)(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    roles = [WORDS[word.lower()] for word in words if word.lower() in WORDS]
    return roles[-1] if roles else ""


def roles_up(path: PurePosixPath) -> tuple[PurePosixPath, Role]:
    """The innermost folder of `path`, or `path` itself, that is named after a role, and its role.

    Without any, the path and no role.
    """
    for folder in (path, *path.parents):
        if role := role_of(folder.name):
            return folder, role
    return path, ""


def given_folder(root: Path, name: str) -> Path:
    """The folder below `root` that a setting names.

    Raises:
        UserError: there is none.
    """
    path = root / os.path.expanduser(name)
    if not path.is_relative_to(root) or ".." in path.relative_to(root).parts or not path.is_dir():
        raise UserError(
            f"{path}: is no folder below data.root {root}: set data.images and "
            "data.annotations to such folders, or leave them out"
        )
    return path
