"""Training, evaluation and the check of a data set from Python, as the commands do them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ssd.commands.status import explained, print_anything
from ssd.common.errors import UserError
from ssd.config import Config
from ssd.config.recipes import find_recipe
from ssd.config.settings import Flat, Settings, nested, read_config
from ssd.detect.evaluate import evaluate_trained
from ssd.doctor.check import Checked
from ssd.doctor.report import report_data
from ssd.evaluation.result import EvaluationResult
from ssd.run.folder import run_folder
from ssd.training.last_words import last_words
from ssd.training.start import train as train_run
from ssd.training.trainer import DONE


def train(
    recipe: str | Path = "quickstart",
    settings: Flat | None = None,
    out: str | Path | None = None,
    resume: str = "auto",
) -> Path:
    """Trains a detector; the same call resumes an interrupted run.

    Args:
        recipe: a recipe by name, or a YAML file.
        settings: what differs from it, such as `{"data.root": "my/data"}`.
        out: the run folder; by default `runs/DATE_TIME`.
        resume: `auto`, `never`, or the path of a checkpoint.

    Returns:
        The run folder, which `ssd.load` and `ssd.evaluate` take.

    Raises:
        UserError: something that was given does not work.
        KeyboardInterrupt: the training was stopped, and has been saved.
    """
    with user_errors(), run_folder(out) as run_dir:
        status = train_run(config_of(recipe, settings), run_dir, resume)
    if status != DONE:
        raise KeyboardInterrupt("stopped: the same call, with this `out`, resumes the run")
    print(last_words(run_dir))
    return run_dir


def evaluate(
    run: str | Path,
    settings: Flat | None = None,
    out: str | Path | None = None,
    checkpoint: str | int | None = None,
) -> EvaluationResult:
    """Evaluates a run or a checkpoint on its evaluation data.

    Args:
        run: run folder or checkpoint folder.
        settings: what differs from those of the run, such as `{"data.eval_split": "val"}`.
        out: where the results go; by default the run folder, or one below its `evaluations` for
            another checkpoint than the last or other settings.
        checkpoint: of a run folder: `best` (the default; the newest if none was evaluated),
            `last`, or a step.

    Raises:
        UserError: there is no intact checkpoint, or the data makes no sense.
    """
    folder = None if out is None else Path(out)
    which = None if checkpoint is None else str(checkpoint)
    with user_errors():
        return evaluate_trained(Path(run), by_section(settings), folder, which).result


def check(
    data: str | Path,
    settings: Flat | None = None,
    recipe: str | Path = "custom_voc",
    out: str | Path = "data_check",
) -> Checked:
    """Checks a data set, and prints what is wrong with it and what is in it.

    Args:
        data: its folder, `data.root`.
        settings: what differs from the recipe, such as `{"data.classes": ["cat", "dog"]}`.
        recipe: what it is to be trained with, by name or as a YAML file.
        out: where the details go.

    Returns:
        The data sets and the findings; `is_broken` tells whether something would hurt training.

    Raises:
        UserError: the folder is none, or a setting is unknown or impossible.
    """
    with user_errors():
        config = config_of(recipe, {"data.root": str(data), **(settings or {})})
        return report_data(config.data, config.model, config.loss, Path(out), config.evaluation)


def config_of(recipe: str | Path, settings: Flat | None) -> Config:
    """The Config of a recipe with some settings changed."""
    return read_config([find_recipe(recipe)], by_section(settings))


def by_section(settings: Flat | None) -> Settings:
    """Settings as YAML has them: by section, and of plain types."""
    return nested({str(name): plain(value) for name, value in (settings or {}).items()})


def plain(value: Any) -> Any:
    """The value of a setting as YAML has it, from what Python code has at hand."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case PurePath():
            return str(value)
        case np.generic():
            return value.item()
        case _:
            return value


@contextmanager
def user_errors() -> Iterator[None]:
    """Raises file errors as UserError, with the text that the command prints."""
    print_anything()
    try:
        yield
    except OSError as error:
        raise UserError(explained(error)) from error
