"""Explains anyone's losses, or reads the log of a run and writes spikes.json and spikes.html."""

from __future__ import annotations

import json
from pathlib import Path

import numpy.typing as npt

from ssd.common.files import write_whole
from ssd.run.folder import check_out, check_place
from ssd.run.names import SPIKES, SPIKES_PAGE
from ssd.spikes.explain import Explanation, as_json, explain
from ssd.spikes.page import write_explanation_page
from ssd.spikes.read import log_of_losses, read_log


def explain_losses(
    losses: npt.ArrayLike,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
    steps: npt.ArrayLike | None = None,
) -> Explanation:
    """Finds the regular spikes in losses, and their cause.

    Args:
        losses: [N].
        steps_per_epoch: optimizer steps of a pass over the data, if known.
        batch_size: images of a full step, if known.
        steps: [N] their optimizer steps, rising; without them, every step from 1 on.

    Raises:
        UserError: there are no losses, or the steps do not rise or are not as many.
    """
    return explain(log_of_losses(losses, steps, steps_per_epoch, batch_size))


def explain_run(
    path: Path, steps_per_epoch: int | None, batch_size: int | None, out: Path | None
) -> str:
    """Explains the log of a run, writes the files and returns the explanation as text.

    Args:
        path: a run folder or a file with losses.
        steps_per_epoch: optimizer steps of a pass; overrides what the log says.
        batch_size: images of a full step; overrides what the log says.
        out: the folder for spikes.json and spikes.html; None: the run folder, or
            `runs/explained_NAME` for a file.

    Raises:
        UserError: the log cannot be read, or the folder holds something else.
    """
    folder = out or (path if path.is_dir() else Path("runs") / f"explained_{path.stem}")
    if folder.resolve() == path.resolve():
        check_place(folder)
    else:
        check_out(folder, "spikes")
    log = read_log(path, steps_per_epoch, batch_size)
    explanation = explain(log)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_json(explanation), indent=1, allow_nan=False)
    write_whole(folder / SPIKES, text + "\n")
    page = write_explanation_page(folder / SPIKES_PAGE, log, explanation)
    return "\n".join([*explanation.paragraphs, f"report: {page}"])
