"""Finds the files that lists and annotations name, however the names are written.

A name is looked for, in this order,

1. as it is, with or without a suffix, below the given folders, those above them, and the root;
2. there as well, but without regard to case, composed or decomposed letters, the kind of slash
   and the suffix;
3. by its longest end that a file below the root has: a path from elsewhere. The last part
   alone has to be in one of the given folders.

Only files below the root are listed, so nothing else can be found. A linked folder may lead
anywhere. Below the second level, no link in a linked folder may lead out of the data again, and a
link of a single file has to stay in the data at any level.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ssd.common.errors import UserError
from ssd.common.untrusted import short
from ssd.data.links import real_folders, refuse_to_leave
from ssd.data.name_repairs import SPELLED_OTHERWISE, WITHOUT_FOLDER, moved

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
)
MOST_FILES = 5_000_000
LONGEST_PATH = 4096  # characters
LONGEST_TAIL = 8  # parts of a path
FREE_LEVELS = 2  # of folders that may be links to anywhere, such as VOC2007/JPEGImages
MOST_ALIKE = 100  # files that are compared before a name counts as ambiguous


class Found(NamedTuple):
    """A file, and the kind of the repair that it took to find it, if any."""

    path: Path
    repair: str | None


class FileIndex:
    """The files below a root that have certain suffixes, listed once: `files`, by their paths."""

    def __init__(self, root: Path, suffixes: Collection[str]) -> None:
        """Lists the files.

        Args:
            root: a folder; if there is none, the index is empty.
            suffixes: in lower case, with the dot.

        Raises:
            UserError: there are more than `MOST_FILES` files and folders.
        """
        self.root = root
        self._suffixes = frozenset(suffixes)
        self.files: set[str] = set()
        self._links: dict[str, tuple[str, ...]] = {}
        self._closed: dict[str, tuple[str, ...]] = {}
        self._bases: dict[tuple[Path, ...], tuple[list[str], list[str]]] = {}
        self._list_files()

    def below(self, folder: Path) -> list[Path]:
        """The files in a folder and its subfolders, sorted."""
        start = self._relative(folder)
        return [self.root / name for name in sorted(self.files) if name.startswith(start)]

    def find(self, text: str, folders: Sequence[Path] = ()) -> Found | None:
        """The file that `text` names, or None.

        Args:
            text: the path, name or stem of a file.
            folders: where it should be, in this order; they have to be below the root.

        Raises:
            ValueError: several files have this name, or the file is a link out of the data.
        """
        if not text or len(text) > LONGEST_PATH:
            return None
        regions, bases = self._where(tuple(folders))
        given, text = text, self._without_root(text)
        for base in bases:
            path = posixpath.normpath(base + text)
            if name := path if path in self.files else self._only(self._by_stem.get(path), text):
                return self._found(name, None)
        parts = [part for part in _fold(text).split("/") if part not in ("", ".", "..")]
        if not parts:
            return None
        wanted = self._bare("/".join(parts))
        for base in bases:
            whole = _fold(base) + wanted
            depth = whole.count("/")
            alike = [name for name in self._by_tail.get(whole, []) if name.count("/") == depth]
            if name := self._best(alike, text, regions):
                return self._found(name, SPELLED_OTHERWISE)
        parts = wanted.split("/")
        for start in range(max(0, len(parts) - LONGEST_TAIL), len(parts)):
            alike = self._by_tail.get("/".join(parts[start:]), [])
            if start == len(parts) - 1 and regions and len(alike) <= MOST_ALIKE:
                alike = [name for name in alike if _lies_in(name, regions, start == 0)]
            if name := self._best(alike, text, regions):
                return self._found(name, WITHOUT_FOLDER if start == 0 else moved(given))
        for closed, homes in self._closed.items():
            if any(posixpath.normpath(base + text).startswith(closed) for base in bases):
                refuse_to_leave(self.root / closed, homes)
        return None

    def _found(self, name: str, repair: str | None) -> Found:
        path = self.root / name
        if name in self._links:
            refuse_to_leave(path, self._links[name])
        return Found(path, repair)

    def _where(self, folders: tuple[Path, ...]) -> tuple[list[str], list[str]]:
        """The folders below the root, each with a slash at its end; then with those above."""
        if folders not in self._bases:
            regions = list(dict.fromkeys(map(self._relative, folders)))
            bases = [above for region in regions for above in _folders_above(region)]
            self._bases[folders] = regions, list(dict.fromkeys([*bases, ""]))
        return self._bases[folders]

    def _relative(self, folder: Path) -> str:
        relative = folder.relative_to(self.root).as_posix()
        return "" if relative == "." else f"{relative}/"

    def _without_root(self, text: str) -> str:
        if text.startswith("/"):
            for root in (str(self.root.absolute()), os.path.realpath(self.root)):
                if text.startswith(f"{root}/"):
                    return text[len(root) + 1 :]
        return text.lstrip("/")

    def _bare(self, path: str) -> str:
        """A path without its suffix, if it is one of ours."""
        stem, suffix = posixpath.splitext(path)
        return stem if suffix.lower() in self._suffixes else path

    def _best(self, alike: list[str], text: str, regions: list[str]) -> str | None:
        """The only file among `alike`, or the only one that lies or is spelled as wanted."""
        if 1 < len(alike) <= MOST_ALIKE:
            name = text.replace("\\", "/").rpartition("/")[2]
            inside = [path for path in alike if path.startswith(tuple(regions))]
            alike = inside or alike
            exact = [path for path in alike if path.rpartition("/")[2] == name]
            stems = [path for path in alike if self._bare(path.rpartition("/")[2]) == name]
            alike = exact or stems or alike
        return self._only(alike, text)

    def _only(self, alike: list[str] | None, text: str) -> str | None:
        if alike and len(alike) > 1:
            first, second = sorted(alike)[:2]
            raise ValueError(
                f"{short(text)} may be {first} or {second}, both in {self.root}: rename or remove "
                "one of them, or name the file by its path"
            )
        return alike[0] if alike else None

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        """The files by their paths without suffix."""
        return _by_key((self._bare(name), name) for name in self.files)

    @cached_property
    def _by_tail(self) -> dict[str, list[str]]:
        """The files by every end of their paths, folded and without suffix."""

        def tails() -> Iterable[tuple[str, str]]:
            for name in self.files:
                parts = self._bare(_fold(name)).split("/")
                yield "/".join(parts), name
                for start in range(max(1, len(parts) - LONGEST_TAIL), len(parts)):
                    yield "/".join(parts[start:]), name

        return _by_key(tails())

    def _list_files(self) -> None:
        """Walks through all folders that hold data."""
        (home,) = real_folders(self.root)
        left = [_Folder("", home, (home,), ())]
        seen = 0
        while left:
            folder = left.pop()
            listed = _entries(self.root / folder.name)
            seen += len(listed)
            if seen > MOST_FILES:
                raise UserError(
                    f"{self.root}: has more than {MOST_FILES} files below it: set data.root to "
                    "the folder of the data alone"
                )
            for entry in listed:
                if _is_folder(entry):
                    if below := self._enter(folder, entry, home):
                        left.append(below)
                elif self._is_ours(entry.name):
                    self.files.add(folder.name + entry.name)
                    if entry.is_symlink():
                        self._links[folder.name + entry.name] = folder.homes

    def _is_ours(self, name: str) -> bool:
        """Tells our files from others, and from the ._files that macOS puts into archives."""
        return os.path.splitext(name)[1].lower() in self._suffixes and not name.startswith("._")

    def _enter(self, folder: _Folder, entry: os.DirEntry[str], home: str) -> _Folder | None:
        """The subfolder `entry` of `folder`, unless it is hidden or a link that is refused."""
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            return None
        name, path = f"{folder.name}{entry.name}/", (*folder.path, folder.real)
        if not entry.is_symlink():
            return _Folder(name, f"{folder.real}{entry.name}/", folder.homes, folder.path)
        (target,) = real_folders(Path(entry.path))
        if any(above.startswith(target) for above in path):
            return None  # It leads to a folder that we are in.
        if target.startswith(folder.homes):
            return _Folder(name, target, folder.homes, path)
        if len(folder.homes) == 1 or name.count("/") <= FREE_LEVELS:
            return _Folder(name, target, (home, target), path)
        self._closed[name] = folder.homes
        return None


class _Folder(NamedTuple):
    """A folder below the root: its name and its real path, each with a slash at the end.

    `homes` are the real folders that its links may lead to, and `path` those that were left
    through links on the way from the root.
    """

    name: str
    real: str
    homes: tuple[str, ...]
    path: tuple[str, ...]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (OSError, ValueError):
        return []


def _lies_in(name: str, regions: list[str], deep: bool) -> bool:
    """Returns whether a file is in one of the folders; `deep` allows their subfolders."""
    if deep:
        return name.startswith(tuple(regions))
    return name[: name.rfind("/") + 1] in regions


def image_ids(root: Path, paths: Sequence[Path], own: Sequence[str] = ()) -> list[str]:
    """The names of images that are used together, each of them different if the paths are.

    That is the name in `own`, or else the stem; for images that share it, the path below `root`
    without the suffix, or else with it. These are composed Unicode with slashes.
    """
    ids = list(own) or [path.stem for path in paths]
    for with_suffix in (False, True):
        times = Counter(ids)
        for index, path in enumerate(paths):
            if times[ids[index]] > 1:
                inside = path.relative_to(root) if path.is_relative_to(root) else path
                name = inside if with_suffix else inside.with_suffix("")
                ids[index] = unicodedata.normalize("NFC", name.as_posix())
    return ids


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a chain of links without an end
        return False


def _folders_above(folder: str) -> list[str]:
    """`a/b/` → `a/b/`, `a/`."""
    parts = folder.split("/")[:-1]
    return ["/".join(parts[:end]) + "/" for end in range(len(parts), 0, -1)]


def _fold(text: str) -> str:
    """A path in the form in which paths are compared that may be the same."""
    text = text.replace("\\", "/")
    if not text.isascii():
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return text.casefold()


def _by_key(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    by_key: dict[str, list[str]] = {}
    for key, value in pairs:
        by_key.setdefault(key, []).append(value)
    return by_key
