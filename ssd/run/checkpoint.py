"""Checkpoints, each either complete or absent.

A checkpoint is a folder `step_N` with the state, the config and a manifest of their sizes and
SHA-256 hashes. It is written under another name, flushed to disk, and renamed once it is complete,
so that a crash at any moment leaves the older ones intact. States are only read with
`weights_only=True`, so that a checkpoint cannot run code.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssd.common.errors import UserError, one_line
from ssd.common.tensor_file import load_tensors
from ssd.common.untrusted import MOST_CLASSES, as_name, as_number, as_whole, read_regular
from ssd.run.flushed_file import flush_folder, write_and_flush
from ssd.run.names import CONFIG

STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"
LARGEST_MANIFEST = 1 << 24  # bytes
LONGEST_REASON = 200


@dataclass(frozen=True)
class Manifest:
    """The description of a checkpoint, stored in it.

    Attributes:
        step: optimizer steps taken.
        classes: names of the classes, in the order of their labels from 1.
        mean_average_precision: of the evaluation at this step, or None without one.
        files: name → {"size": bytes, "sha256": hex digest}.
    """

    step: int
    classes: list[str]
    mean_average_precision: float | None
    files: dict[str, dict[str, Any]]


def save_checkpoint(
    folder: Path,
    step: int,
    state: dict[str, Any],
    config_yaml: str,
    classes: list[str],
) -> Path:
    """Writes `folder/step_N` and returns its path.

    Args:
        folder: holds the run's checkpoints.
        step: optimizer steps taken.
        state: tensors and plain values, nested.
        config_yaml: the resolved config.
        classes: names of the classes.

    Raises:
        UserError: the disk is full or not writable; older checkpoints are untouched.
    """
    target = folder / f"step_{step}"
    unfinished = folder / f".unfinished_step_{step}"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        files = {
            STATE_FILE: write_and_flush(
                unfinished / STATE_FILE, lambda file: torch.save(state, file)
            ),
            CONFIG: write_text(unfinished / CONFIG, config_yaml),
        }
        write_manifest(unfinished / MANIFEST_FILE, Manifest(step, classes, None, files))
        flush_folder(unfinished)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
        flush_folder(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise UserError(
            f"could not save the checkpoint {target}: {error.strerror or error}; older "
            "checkpoints are unchanged: free some disk space or repair the folder"
        ) from error
    return target


def record_score(checkpoint: Path, mean_average_precision: float) -> None:
    """Adds the result of an evaluation to a checkpoint's manifest; NaN counts as no result."""
    score = None if math.isnan(mean_average_precision) else mean_average_precision
    partial = checkpoint / f".{MANIFEST_FILE}"
    write_manifest(partial, replace(read_manifest(checkpoint), mean_average_precision=score))
    partial.replace(checkpoint / MANIFEST_FILE)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes the manifest of a checkpoint."""
    write_text(path, json.dumps(asdict(manifest), indent=2))


def write_text(path: Path, text: str) -> dict[str, Any]:
    """Writes a text with `write_and_flush`."""
    return write_and_flush(path, lambda file: file.write(text.encode()))


def read_manifest(checkpoint: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
        UserError: it is missing or not a manifest.
    """
    path = checkpoint / MANIFEST_FILE
    try:
        manifest = Manifest(**json.loads(read_regular(path, LARGEST_MANIFEST)))
        _check_manifest(manifest)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = one_line(error)[:LONGEST_REASON]
        raise UserError(f"{path} is not a checkpoint's manifest: {reason}") from error
    return manifest


def _check_manifest(manifest: Manifest) -> None:
    """Raises an exception, of varying type, unless every entry is valid."""
    as_whole("step", manifest.step, 0)
    if manifest.mean_average_precision is not None:
        as_number("mean_average_precision", manifest.mean_average_precision)
    if not 0 < len(manifest.classes) <= MOST_CLASSES:
        raise ValueError(f"{len(manifest.classes)} classes, but 1 to {MOST_CLASSES} are allowed")
    if len({as_name("classes", one) for one in manifest.classes}) < len(manifest.classes):
        raise ValueError("a class is named twice")
    for file in (STATE_FILE, CONFIG):
        if not {"size", "sha256"} <= manifest.files[file].keys():
            raise ValueError(f"entries of {file} are missing")


def read_checked(checkpoint: Path, name: str, manifest: Manifest) -> bytes:
    """The content of a checkpoint's file, checked against the manifest.

    Raises:
        UserError: the file is missing or was changed.
    """
    path = checkpoint / name
    try:
        content = read_regular(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    expected = manifest.files[name]
    if len(content) != expected["size"]:
        raise UserError(
            f"{path} is damaged: {len(content)} bytes, but {expected['size']} were saved"
        )
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise UserError(f"{path} is damaged: its SHA-256 is not the one that was saved")
    return content


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found intact.

    Attributes:
        path: its folder.
        manifest: its description.
        state: the training state.
        config_yaml: the resolved config.
        choice: which one of a run it is, in a few words, if it was chosen among several.
    """

    path: Path
    manifest: Manifest
    state: dict[str, Any]
    config_yaml: str
    choice: str = ""

    @property
    def weights(self) -> dict[str, Tensor]:
        """The tensors of the model, averaged if averages were kept."""
        weights: dict[str, Tensor] = self.state["average"] or self.state["model"]
        return weights


def load_checkpoint(checkpoint: Path) -> Checkpoint:
    """Reads a checkpoint folder onto the CPU and checks it against its manifest.

    Raises:
        UserError: something is missing or damaged.
    """
    manifest = read_manifest(checkpoint)
    content = read_checked(checkpoint, STATE_FILE, manifest)
    try:
        config_yaml = read_checked(checkpoint, CONFIG, manifest).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{checkpoint / CONFIG} is not a text file") from error
    try:
        state = load_tensors(io.BytesIO(content))
    except ValueError as error:
        raise UserError(
            f"{checkpoint / STATE_FILE} holds objects other than tensors and plain values "
            f"({error}) and was not loaded"
        ) from error
    if not isinstance(state, dict):
        found = type(state).__name__
        raise UserError(f"{checkpoint / STATE_FILE} holds a {found} instead of a training state")
    return Checkpoint(checkpoint, manifest, state, config_yaml)


def check_intact(checkpoint: Path) -> None:
    """Makes sure that every file of a checkpoint matches its manifest.

    Raises:
        UserError: one does not.
    """
    manifest = read_manifest(checkpoint)
    for name in (STATE_FILE, CONFIG):
        read_checked(checkpoint, name, manifest)


def is_intact(checkpoint: Path) -> bool:
    """Returns whether every file of a checkpoint matches its manifest."""
    try:
        check_intact(checkpoint)
    except UserError:
        return False
    return True
