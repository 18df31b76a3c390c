"""Sources to predict → an unambiguous name for each image or video, and for its drawn copy."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ssd.common.errors import UserError
from ssd.common.untrusted import MAX_PIXELS
from ssd.data.names import IMAGE_SUFFIXES
from ssd.detect.kinds import (
    STANDARD_INPUT,
    VIDEO_SUFFIXES,
    Kind,
    is_live,
    kind_of_file,
    name_of_live,
    shown_address,
)

TAKEN = IMAGE_SUFFIXES | VIDEO_SUFFIXES
MOST_PIXELS = 5 * MAX_PIXELS  # aerial pictures are large, and here they are the user's own
# Of formats that are not read.
OTHER_PICTURES = frozenset(
    {".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".eps", ".tga", ".exr"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"}
)


@dataclass(frozen=True)
class Source:
    """An image file, a video, a camera, an address, or standard input.

    Attributes:
        place: the file; else the word that names the source.
        image_id: its stem; where another one has the same, more of its path. The frames of a video
            have it before their number, as `clip/000012`.
        drawn: the path of its drawn copy below the output folder, with the subfolders; a folder for
            standard input.
        kind: picture, video, live (a camera or an address), or piped (standard input).
    """

    place: str
    image_id: str
    drawn: PurePath
    kind: Kind = "picture"

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.place)

    def __str__(self) -> str:
        """The source as messages name it."""
        if self.kind == "piped":
            return "standard input"
        return shown_address(self.place) if self.kind == "live" else self.place


def find_sources(given: Sequence[str], recursive: bool, out: Path) -> list[Source]:
    """All that there is to predict, each of it once: streams first, then files.

    Args:
        given: files, folders, patterns such as `photos/*.jpg`, `camera:0`, addresses, and `-` for
            standard input.
        recursive: take the files of subfolders too.
        out: the output folder; drawn copies that an earlier call left in it are no input.

    Raises:
        UserError: a file does not exist, there is no image, or no name can tell two files apart.
    """
    streams = list(dict.fromkeys(word for word in given if is_stream(word)))
    words = {word: "stdin" if word == STANDARD_INPUT else name_of_live(word) for word in streams}
    found = files_among(given, recursive, out)
    if not found and not streams:
        raise UserError(no_image([Path(word) for word in given]))
    again = [[name, *(f"{name}_{number}" for number in range(2, 99))] for name in words.values()]
    paths = [path for path, _ in found.values()]
    tails = [_tails(whole, depth) for whole, (_, depth) in found.items()]
    stems = [[unicodedata.normalize("NFC", path.stem)] for path in paths]
    longer = [stem + tail for stem, tail in zip(stems, tails, strict=True)]
    places = [*streams, *map(str, paths)]
    ids = _unambiguous([*again, *longer], places)
    kinds: list[Kind] = ["piped" if word == STANDARD_INPUT else "live" for word in streams]
    kinds += map(kind_of_file, paths)
    suffixes = {"picture": ".jpg", "video": ".mp4", "live": ".mp4", "piped": ""}
    copies = [
        [name + suffixes[kind] for name in own]
        for own, kind in zip([*again, *tails], kinds, strict=True)
    ]
    drawn = map(PurePath, _unambiguous(copies, places))
    sources = [Source(*each) for each in zip(places, ids, drawn, kinds, strict=True)]
    _refuse_names_of_frames(sources)
    return sources


def is_stream(word: str) -> bool:
    """Returns whether a word of the command line is no file: live, or standard input."""
    return word == STANDARD_INPUT or is_live(word)


def files_among(given: Sequence[str], recursive: bool, out: Path) -> dict[Path, tuple[Path, int]]:
    """The files by their absolute path, and how many of its last parts name each of them.

    Raises:
        UserError: a file does not exist.
    """
    found: dict[Path, tuple[Path, int]] = {}
    for source in paths_among(given, out):
        home = Path(os.path.abspath(source))
        if not home.is_dir():
            found.setdefault(home, (source, 1))
            continue
        for path in inputs_in(source, recursive, out):
            whole = Path(os.path.abspath(path))
            found.setdefault(whole, (path, len(whole.parts) - len(home.parts)))
    return found


def paths_among(given: Sequence[str], out: Path) -> list[Path]:
    """The files and folders among the words of a command line.

    A pattern that the shell has not expanded is, without the files in `out`.

    Raises:
        UserError: one does not exist.
    """
    found: list[Path] = []
    for word in given:
        path = Path(word).expanduser()
        if is_stream(word):
            continue
        if path.exists():
            found.append(path)
        elif matching := outside(map(Path, sorted(glob.glob(str(path), recursive=True))), out):
            found += matching
        else:
            what = "no file matches" if glob.has_magic(word) else "there is no such file or folder"
            raise UserError(f"{path}: {what}: correct the path")
    return found


def _refuse_names_of_frames(sources: Sequence[Source]) -> None:
    """Raises a UserError if an image has the name of a video's frame."""
    videos = tuple(f"{source.image_id}/" for source in sources if source.kind != "picture")
    for source in sources:
        if source.image_id.startswith(videos):
            raise UserError(f"{source}: a frame of a video has the same name: rename one")


def inputs_in(
    folder: Path, recursive: bool, out: Path, suffixes: Collection[str] = TAKEN
) -> list[Path]:
    """The files of a folder with these suffixes, without those in `out`, unless it is in there."""
    files = files_in(folder, recursive, suffixes)
    return outside(files, out) if outside([folder], out) else files


def outside(paths: Iterable[Path], out: Path) -> list[Path]:
    """The paths that are not in the output folder."""
    home = Path(os.path.abspath(out))
    return [path for path in paths if not Path(os.path.abspath(path)).is_relative_to(home)]


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


def _unambiguous(names: Sequence[Sequence[str]], places: Sequence[str]) -> list[str]:
    """For each place the first of its names that no other one is left with."""
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
                raise UserError(f"{places[index]}: another image has the same name: rename one")
