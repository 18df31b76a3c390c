"""Reads TensorBoard's event files: every tag with a loss is a log.

The frames are read here, since TensorBoard's own reader checks each one in Python, which takes 9 s
for 500,000 rows; what is in a frame is decoded by TensorBoard's messages.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd.common.errors import UserError
from ssd.common.untrusted import LARGEST_LOG, read_regular, shown
from ssd.spikes.formats.table import (
    NAMES,
    SHOWN_NAMES,
    Chosen,
    Table,
    is_training_loss,
    normalised,
    table_of,
)
from ssd.spikes.log import Floats, Ints

HEAD, TAIL = 12, 4  # bytes around the message of a frame: its length and two checksums
FILE_VERSION = b"brain.Event"
BESIDE = ("epoch", "lr", "grad_norm")
Series = tuple[Ints, Floats]  # steps, values


def is_event_file(content: bytes) -> bool:
    """Whether a file begins with the frame in which TensorBoard names its format."""
    return FILE_VERSION in content[:64]


def read_events(source: str, files: Sequence[Path], root: Path, chosen: Chosen) -> list[Table]:
    """The logs in event files: one for each folder and each tag with a loss.

    Args:
        source: their origin, as the user named it.
        files: at least one; those of one folder continue one another in the order of their names.
        root: the folder relative to which runs are named.
        chosen: the tags that the user chose.

    Raises:
        UserError: no tag is a loss, or a file is too large.
    """
    by_folder = defaultdict(list)
    for file in sorted(files):
        by_folder[file.parent].append(file)
    series = {folder: _series(source, own) for folder, own in by_folder.items()}
    wanted = [
        (folder, tag)
        for folder, own in series.items()
        for tag in own
        if (is_training_loss(tag) if chosen.loss is None else tag == chosen.loss)
    ]
    if not wanted:
        tags = [
            repr(tag[:40]) for tag in dict.fromkeys(tag for own in series.values() for tag in own)
        ]
        raise UserError(
            f"{source}: no tag is the loss; found {shown(tags, SHOWN_NAMES) or 'no scalars'}: "
            "name one with --loss-column"
        )
    tables = []
    for folder, tag in wanted:
        where = "" if folder == root else folder.relative_to(root).as_posix()
        several = sum(1 for other, _ in wanted if other == folder) > 1
        run = "/".join(filter(None, (where, tag if several else "")))
        tables.append(_table(series[folder], tag, run if len(wanted) > 1 else "", chosen))
    return tables


def _table(series: Mapping[str, Series], tag: str, run: str, chosen: Chosen) -> Table:
    """The table of one tag, with the epoch and others that are logged at the same steps."""
    steps, losses = series[tag]
    columns = {"step": steps.astype(np.float64), "loss": losses}
    for part in BESIDE:
        names = [chosen.epoch] if part == "epoch" and chosen.epoch else NAMES[part].split()
        own = [other for other in series if other in names or normalised(other) in names]
        if own:
            columns[part] = _at(steps, *series[own[0]])
    return table_of(columns, np.ones(len(steps), np.bool_), run=run)


def _at(steps: Ints, others: Ints, values: Floats) -> Floats:
    """The values that are logged at given steps; NaN where there is none."""
    order = np.argsort(others, kind="stable")
    place = np.searchsorted(others[order], steps, side="right") - 1
    at = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (others[at] == steps), values[at], np.nan)


def _series(source: str, files: Sequence[Path]) -> dict[str, Series]:
    """The steps and values of each scalar tag of a folder."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for file in files:
        try:
            content = read_regular(file, LARGEST_LOG)
        except OSError as problem:
            raise UserError(f"{source}: {file.name} cannot be read ({problem.strerror})") from None
        for event in _events(content):
            for value in event.summary.value:
                number = _scalar(value)
                if number is not None:
                    found[value.tag].append((event.step, number))
    return {
        tag: (
            np.array([step for step, _ in rows], np.int64),
            np.array([number for _, number in rows], np.float64),
        )
        for tag, rows in found.items()
    }


def _events(content: bytes) -> Iterator[Any]:
    """The events of a file, up to the first frame that is cut off or broken."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    at = 0
    while at + HEAD <= len(content):
        (size,) = struct.unpack_from("<Q", content, at)
        end = at + HEAD + size
        if end + TAIL > len(content):
            return
        try:
            yield Event.FromString(content[at + HEAD : end])
        except DecodeError:
            return
        at = end + TAIL


def _scalar(value: Any) -> float | None:
    """The number of a value of a summary, as PyTorch or as TensorFlow 2 writes it."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or value.metadata.plugin_data.plugin_name not in ("", "scalars"):
        return None
    if len(value.tensor.float_val) == 1:
        return float(value.tensor.float_val[0])
    inline = value.tensor.tensor_content
    return float(np.frombuffer(inline, "<f4")[0]) if len(inline) == 4 else None
