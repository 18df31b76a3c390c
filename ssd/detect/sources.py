"""Files and folders to predict → one unambiguous name for each image, and for its drawn copy."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS
from ssd.data.names import IMAGE_SUFFIXES

MOST_PIXELS = 5 * MAX_PIXELS  # aerial pictures are large, and here they are the user's own
# Of formats that are not read.
OTHER_PICTURES = frozenset(
    {".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".eps", ".tga", ".exr"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"}
)


@dataclass(frozen=True)
class Source:
    """An image file.

    Attributes:
        path: the file.
        image_id: its stem; where another one has the same, more of its path.
        drawn: the path of its drawn copy below the output folder, with the subfolders.
    """

    path: Path
    image_id: str
    drawn: PurePath


def image_sources(given: Sequence[Path], recursive: bool, out: Path) -> list[Source]:
    """The image files among `given` and in the folders among them, each of them once.

    Args:
        given: image files and folders.
        recursive: take the images of subfolders too.
        out: the output folder; drawn copies that an earlier call left in it are no input.

    Raises:
        UserError: a file does not exist, there is no image, or no name can tell two files apart.
    """
    found: dict[Path, tuple[Path, int]] = {}  # by the absolute path
    for source in given:
        if not source.exists():
            raise UserError(f"{source}: there is no such file or folder: correct the path")
        home = Path(os.path.abspath(source))
        if not home.is_dir():
            found.setdefault(home, (source, 1))
            continue
        for path in inputs_in(source, recursive, out):
            whole = Path(os.path.abspath(path))
            found.setdefault(whole, (path, len(whole.parts) - len(home.parts)))
    if not found:
        raise UserError(no_image(given))
    paths = [path for path, _ in found.values()]
    tails = [_tails(whole, depth) for whole, (_, depth) in found.items()]
    stems = [[unicodedata.normalize("NFC", path.stem)] for path in paths]
    ids = _unambiguous([stem + longer for stem, longer in zip(stems, tails, strict=True)], paths)
    drawn = [PurePath(f"{name}.jpg") for name in _unambiguous(tails, paths)]
    return [Source(*each) for each in zip(paths, ids, drawn, strict=True)]


def inputs_in(
    folder: Path, recursive: bool, out: Path, suffixes: Collection[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """The files of a folder with these suffixes, without those in `out`, unless it is in there."""
    out_folder = Path(os.path.abspath(out))
    files = files_in(folder, recursive, suffixes)
    if Path(os.path.abspath(folder)).is_relative_to(out_folder):
        return files
    return [path for path in files if not Path(os.path.abspath(path)).is_relative_to(out_folder)]


def num_subfolders(given: Sequence[Path], out: Path) -> int:
    """Returns how many visible subfolders the folders among `given` have, `out` left out."""
    folders = (entry for source in given if source.is_dir() for entry in source.iterdir())
    shown = {each.resolve() for each in folders if each.is_dir() and each.name[0] != "."}
    return len(shown - {out.resolve()})


def files_in(
    folder: Path, recursive: bool = False, suffixes: Collection[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """The image files of a folder by their suffix, sorted by path; hidden ones are none.

    Args:
        folder: may be a link, and may hold links.
        recursive: take those of its subfolders too.
        suffixes: of the files, in lower case.
    """
    found: list[Path] = []
    seen: set[str] = set()  # a link may lead back to a folder above it
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        visible = [name for name in folders if not name.startswith(".")]
        folders[:] = visible if recursive and real not in seen else []
        if real not in seen:
            shown = (Path(where, name) for name in names if not name.startswith("."))
            found += [path for path in shown if path.suffix.lower() in suffixes]
        seen.add(real)
    return sorted(found)


def no_image(sources: Iterable[Path]) -> str:
    """The error for folders without an image."""
    suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
    return (
        f"no image in {', '.join(map(str, sources))}: give image files or a folder of them "
        f"({suffixes}), or --recursive for its subfolders"
    )


def _tails(path: Path, depth: int) -> list[str]:
    """The last `depth` parts of a path and ever more of them, without the suffix and with it."""
    parts = unicodedata.normalize("NFC", path.as_posix().removeprefix(path.anchor)).split("/")
    longer = ["/".join(parts[-count:]) for count in range(depth, len(parts) + 1)]
    return [name for tail in longer for name in (tail.removesuffix(path.suffix), tail)]


def _unambiguous(names: Sequence[Sequence[str]], paths: Sequence[Path]) -> list[str]:
    """For each path the first of its names that no other one is left with."""
    chosen = [0] * len(names)
    while True:
        now = [own[place] for own, place in zip(names, chosen, strict=True)]
        often = Counter(now)
        again = [index for index, name in enumerate(now) if often[name] > 1]
        if not again:
            return now
        for index in again:
            chosen[index] += 1
            if chosen[index] == len(names[index]):
                raise UserError(f"{paths[index]}: another image has the same name: rename one")
