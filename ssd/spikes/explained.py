"""Explains anyone's losses, or reads the logs of runs and writes spikes.json and spikes.html."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy.typing as npt

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.untrusted import shown
from ssd.run.folder import check_out, check_place
from ssd.run.names import METRICS, SPIKES, SPIKES_PAGE
from ssd.spikes.explain import Explanation, as_json, explain
from ssd.spikes.formats.table import Chosen
from ssd.spikes.given import log_of_losses
from ssd.spikes.log import Log
from ssd.spikes.page import write_explanation_page
from ssd.spikes.read import choose_run, numbered, read_logs

MOST_RUNS = 20  # that are explained at once
LONGEST_NAME = 60  # characters of a path or of a run in the name of a folder


def explain_losses(
    losses: npt.ArrayLike,
    steps: npt.ArrayLike | None = None,
    epochs: npt.ArrayLike | None = None,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
) -> Explanation:
    """Finds the regular spikes in losses, and their cause.

    Args:
        losses: [N].
        steps: [N] their optimizer steps, rising through all passes, or anew in each epoch if
            `epochs` are given; without them, every step from 1 on.
        epochs: [N] the epoch of each loss, whole or fractional, if known.
        steps_per_epoch: optimizer steps of a pass over the data, if known.
        batch_size: images of a full step, if known.

    Raises:
        UserError: there are no losses, or the steps do not rise or are not as many.
    """
    return explain(log_of_losses(losses, steps, epochs, steps_per_epoch, batch_size))


def explain_run(
    path: Path,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
    out: Path | None = None,
    run: str | None = None,
    chosen: Chosen | None = None,
) -> str:
    """Explains the log of a run, or of each of several, and returns the explanations as text.

    Each run gets a spikes.json and a page of its own. Of several, one spikes.json more lists them.

    Args:
        path: a run folder, a file with losses or a folder with logs.
        steps_per_epoch: optimizer steps of a pass; overrides what the log says.
        batch_size: images of a full step; overrides what the log says.
        out: the folder for spikes.json and spikes.html, with a folder in it for each of several
            runs; None: the run folder, or a folder of its own in `runs` for anything else.
        run: the run to explain, by name or number; None: all of them.
        chosen: the columns to read, where they have other names than usual.

    Raises:
        UserError: the log cannot be read, there is no such run, there are too many, or the folder
            holds something else.
    """
    folder = out or (path if (path / METRICS).exists() else Path("runs") / folder_of(path))
    if folder.resolve() == path.resolve():
        check_place(folder)
    else:
        check_out(folder, "spikes")
    logs = read_logs(path, steps_per_epoch, batch_size, chosen)
    wanted = logs if run is None else [choose_run(logs, run)]
    if len(wanted) > MOST_RUNS:
        raise UserError(
            f"{path}: has {len(logs)} runs, and at most {MOST_RUNS} are explained at once; choose "
            f"one with --run, by number or name ({shown(numbered(logs))})"
        )
    if len(logs) == 1:
        return _explain_one(logs[0], folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / SPIKES, json.dumps({"runs": [log.run for log in logs]}, indent=1) + "\n")
    texts = []
    for number, log in enumerate(logs, start=1):
        if any(log is each for each in wanted):
            name = log.run if log.run == f"run {number}" else f"{number} {log.run}"
            texts.append(_explain_one(log, folder / _readable(name)))
    return "\n\n".join(texts)


def folder_of(path: Path) -> str:
    """The name of the folder for the pages of a file, which no other file has.

    The name of a file in the current folder tells it from all others. Any other file adds the name
    of its folder and a part of the hash of its whole path.
    """
    whole = path.resolve()
    if whole.parent == Path.cwd():
        readable = _readable(whole.name)
        if readable == whole.name:
            return f"explained_{readable}"
    else:
        readable = _readable(f"{whole.parent.name}_{whole.name}")
    digest = hashlib.sha256(str(whole).encode(errors="surrogateescape")).hexdigest()[:8]
    return f"explained_{readable}_{digest}"


def _readable(name: str) -> str:
    """A name of a file that is safe in every file system."""
    return re.sub(r"[^\w.=-]+", "_", name)[:LONGEST_NAME].strip("._") or "log"


def _explain_one(log: Log, folder: Path) -> str:
    """Writes the files of one log and returns its explanation."""
    explanation = explain(log)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"run": log.run, "note": log.note} | as_json(explanation)
    text = json.dumps(fields, indent=1, allow_nan=False)
    write_whole(folder / SPIKES, text + "\n")
    page = write_explanation_page(folder / SPIKES_PAGE, log, explanation)
    lines = [f"{log.run}:" if log.run else "", log.note, *explanation.paragraphs, f"report: {page}"]
    return "\n".join(filter(None, lines))
