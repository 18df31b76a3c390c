"""Recognises what a folder of data holds: its format and its splits.

folder ─ survey ─┬─ VOC?  ─┐
├─ COCO? ─┼─ Layout ─ choose ─► the settings that the readers take
└─ YOLO? ─┘
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ssd.common.errors import UserError
from ssd.common.untrusted import short, shown
from ssd.common.words import counted
from ssd.config import DataConfig
from ssd.config.data import AUTO, SHARE
from ssd.data.layouts import Layout, find_coco, find_voc
from ssd.data.lists import read_lines
from ssd.data.survey import Role, Survey, roles_up, survey
from ssd.data.yolo_layout import find_yolo

Splits = str | list[str]

FINDERS: dict[str, Callable[[Path, Survey, DataConfig], Layout | None]] = {
    "voc": find_voc,
    "coco": find_coco,
    "yolo": find_yolo,
}

# The splits to train and to evaluate on, the first pair that is there; None is a share of the
# former. Most sets have `train` and `val`, and use `test` only where there is nothing else; VOC
# has all four, and papers train on `trainval` and evaluate on `test`.
PAIRS: tuple[tuple[Role | None, Role | None], ...] = (
    ("trainval", "test"),
    ("train", "val"),
    ("train", "test"),
    ("", "val"),
    ("", "test"),
    ("trainval", None),
    ("train", None),
    ("", None),
    (None, "val"),  # to evaluate alone
    (None, "test"),
    (None, None),
)
SHOWN_FLAGS = 4
SHOWN_LISTS = 2
NO_DATA = (
    "VOC (XML files), COCO (a JSON file) or YOLO (a text file for each image): give the folder "
    "that holds images and annotations, or say how to read it with --data.format, "
    "--data.train_split and --data.eval_split"
)


def recognise(root: Path, config: DataConfig) -> Layout:
    """The layout that the folder `root` is taken for, within the limits that the settings give.

    Raises:
        UserError: it is not a folder, holds nothing known, or can be read in several ways.
    """
    if not root.is_dir():
        raise UserError(f"data.root {root} is not a folder: set it to the folder of the data")
    found = survey(root)
    wanted = FINDERS if config.format == AUTO else {config.format: FINDERS[config.format]}
    layouts = [layout for find in wanted.values() if (layout := find(root, found, config))]
    if not layouts:
        kind = "" if config.format == AUTO else f" as data.format {config.format}"
        raise UserError(f"{root}: no data set can be read{kind}; looked for {NO_DATA}")
    if len(layouts) > 1:
        readings = " or as ".join(layout.what for layout in layouts)
        flags = " or ".join(f"--data.format {layout.format}" for layout in layouts)
        raise UserError(f"{root} can be read as {readings}: give {flags}")
    return layouts[0]


def locate(config: DataConfig, to_train: bool = True) -> tuple[DataConfig, str]:
    """The settings with all that `auto` stands for, and one line that says what was found.

    Settings without `auto` come back as they are, and the line is empty.

    Args:
        config: the section of the config.
        to_train: the split to train on is needed too; without it, `auto` may remain there.

    Raises:
        UserError: see `recognise`; or there are no splits to choose from.
    """
    config = replace(config, root=os.path.expanduser(config.root))
    if config.format == "shapes":
        return _shapes(config), ""
    if config.root == DataConfig().root:
        raise UserError("data.root is not set: give --data.root and the folder of the data")
    if AUTO not in (config.format, config.eval_split, config.train_split if to_train else ""):
        return config, ""
    root = Path(config.root)
    layout = recognise(root, config)
    train, evaluation = choose(root, layout, config, to_train)
    located = replace(
        config,
        format=layout.format,
        train_split=train,
        eval_split=evaluation,
    )
    lost = "".join(f"; {line}" for line in (*_lost_lists(layout), *_gone(layout, config)))
    told = f"{root} is taken for {layout.what}; training on {_told(train)}"
    if evaluation == SHARE:
        told = told.removesuffix(" .") + (" all images" if train == "." else "")
        held_out = f"{config.eval_share:.0%}, which are held out to evaluate on"
        return located, f"{told} but {held_out}{lost}"
    judged = "no evaluation" if evaluation is None else f"evaluation on {_told(evaluation)}"
    return located, f"{told}, {judged}{lost}"


def _shapes(config: DataConfig) -> DataConfig:
    given = config.train_split, config.eval_split
    train, evaluation = ("trainval", "test")
    return replace(
        config,
        train_split=train if given[0] == AUTO else given[0],
        eval_split=evaluation if given[1] == AUTO else given[1],
    )


def _told(splits: Splits) -> str:
    return shown([splits] if isinstance(splits, str) else splits)


def choose(
    root: Path, layout: Layout, config: DataConfig, to_train: bool
) -> tuple[Splits, Splits | None]:
    """The splits to train and to evaluate on; given ones win.

    Without `to_train`, a set that has nothing to train on will do.

    Raises:
        UserError: there is nothing to train on, or several splits could be meant.
    """
    train, evaluation = config.train_split, config.eval_split
    if train != AUTO and evaluation != AUTO:
        return train, evaluation
    have: set[Role | None] = {*layout.splits.values()}
    usable = have if to_train else {*have, None}
    own = set() if train == AUTO else _roles(train, "")
    # A given split is to train on, whatever it is called, and is not what is evaluated on.
    trains = usable if train == AUTO else (own & {"trainval", "train"} or {""})
    evaluations = (have - own) | {None} if evaluation == AUTO else _roles(evaluation, None)
    pairs = [pair for pair in PAIRS if pair[0] in trains]
    pairs = [pair for pair in pairs if pair[1] in evaluations] or [
        pair for pair in pairs if pair[1] is None
    ]
    if not pairs:
        lost = "".join(f"; {line}" for line in _lost_lists(layout))
        remedy = f"put them below {root}, correct the list, or " if lost else ""
        if gone := layout.gone.get("train"):
            lost, remedy = f"{lost}; {gone}", "correct it, or "
        raise UserError(
            f"{root} is taken for {layout.what} with {shown(list(layout.splits))}, but none of "
            f"these is to train on{lost}: {remedy}set --data.train_split"
        )
    learnt, judged = pairs[0]
    if train == AUTO and learnt is not None:
        train = _of_role(root, layout, learnt, "train_split")
    if evaluation == AUTO:
        has = judged is not None
        evaluation = _of_role(root, layout, judged, "eval_split") if has else SHARE
    return train, evaluation


def _lost_lists(layout: Layout) -> Iterator[str]:
    """A line about each of the first lists none of whose images is there."""
    for path in layout.lost[:SHOWN_LISTS]:
        with suppress(UserError):  # it is no list
            lines = read_lines(path)
            first = f"{counted(len(lines), 'image')}; the first: {short(lines[0])}"
            yield f"{path} is left alone, since no image that it lists is there ({first})"


def _gone(layout: Layout, config: DataConfig) -> list[str]:
    """A line about each split that is not there, but would have been used."""
    roles = {"train"} if config.train_split == AUTO else set()
    if config.eval_split == AUTO and "val" not in layout.splits.values():
        roles |= {"val", "test"}
    return [line for role, line in layout.gone.items() if role in roles]


def _roles(splits: Splits | None, without: Role | None) -> set[Role | None]:
    """The roles that the names of given splits tell; `without` is that of names that tell none."""
    names = [splits] if isinstance(splits, str) else splits or []
    return {roles_up(PurePosixPath(name))[1] or without for name in names} or {None}


def _of_role(root: Path, layout: Layout, role: Role | None, setting: str) -> Splits:
    names = [name for name, own in layout.splits.items() if own == role]
    if len(names) > 1 and not (layout.joint and role):
        flags = " or ".join(f"--data.{setting} {name}" for name in names[:SHOWN_FLAGS])
        raise UserError(f"{root}: {shown(names)} could each be the split to use: give {flags}")
    return names[0] if len(names) == 1 else names
