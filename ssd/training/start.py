"""Starts a run in a new folder, or resumes one from a checkpoint, and trains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.config import Config
from ssd.config.data import SHARE
from ssd.config.settings import to_yaml
from ssd.data.layout import locate
from ssd.data.split import read_division, write_division
from ssd.model.device import choose_device
from ssd.run.changes import Change, changes, write_changes
from ssd.run.checkpoint import MANIFEST_FILE, Checkpoint, load_checkpoint
from ssd.run.checkpoints import list_checkpoints, newest_intact, step_of
from ssd.run.environment import describe_environment
from ssd.run.folder import check_out
from ssd.run.lock import RunLock, locked
from ssd.run.names import (
    CHECKPOINTS,
    CONFIG,
    DIVISION,
    ENVIRONMENT,
    EVALUATION,
    HEADERS,
    METRICS,
    REPORT,
)
from ssd.run.rows import has_evaluation, only, read_rows
from ssd.steps import EvaluationRow
from ssd.training.build import Parts, build
from ssd.training.changes import (
    as_it_began,
    as_lines,
    changed_images,
    compare,
    keep_choices,
)
from ssd.training.ranks import from_first_rank, is_first, joined_ranks, made_by_first_rank
from ssd.training.signals import Signals, Stopped
from ssd.training.summary import summary
from ssd.training.trainer import DONE, Trainer


def train(config: Config, run_dir: Path, resume: str) -> int:
    """Trains in `run_dir`; returns the exit status, 130 or 143 if a signal has stopped it.

    Args:
        config: the whole run.
        run_dir: the run folder; created if need be.
        resume: `auto` resumes from the newest intact checkpoint in the folder, if there is one;
            `never` requires a folder without checkpoints; anything else is a checkpoint's path.

    Raises:
        UserError: the run cannot work with the settings or files that the user gave, or another
            one trains in this folder.
    """
    device = choose_device(config.training.device)
    with joined_ranks(device), Signals() as signals, ExitStack() as at_end:
        return train_on_rank(config, run_dir, resume, signals, at_end)


def train_on_rank(
    config: Config, run_dir: Path, resume: str, signals: Signals, at_end: ExitStack
) -> int:
    """Trains as one of the joined ranks, and keeps nothing that communicates when it is through."""
    run_dir = from_first_rank(run_dir)  # only the first rank may have made it
    try:
        with signals.interrupting():
            lock = lock_on_first_rank(run_dir, config.data.root, at_end)
            checkpoint = find_on_first_rank(run_dir, resume)
            if checkpoint is not None:
                config = keep_short_step(keep_choices(config, checkpoint), checkpoint)
            config = find_data(config)
            changed = [] if checkpoint is None else compare(checkpoint, config)
            origin = run_of(checkpoint, run_dir)
            division = None if checkpoint is None else origin / DIVISION
            parts = build(config, checkpoint, division, run_dir / HEADERS)
            config = replace(config, model=parts.model_config)
            if checkpoint is not None:
                changed += filter(None, [changed_images(checkpoint, parts.train_data)])
    except Stopped:
        tell("stopped before the first step")
        return signals.status
    if from_first_rank(is_finished(run_dir, parts)):
        tell(
            f"the run has already reached its last step {parts.length.last_step}"
            f"{', so nothing of it changes' * bool(changed)}: give more --training.steps or "
            f"--training.epochs, evaluate it with ssd evaluate {run_dir}, or start a new run with "
            "another --out"
        )
        return DONE
    if parts.state.step >= parts.length.last_step:  # only the last evaluation is missing
        changed = []
    tell(summary(config, run_dir, parts, changed))
    if is_first():
        before = [change for change in changes(origin) if change.step <= parts.state.step]
        kept = None if division is None else read_division(division)
        describe(run_dir, config, parts, before + changed, kept)
    return Trainer(config, run_dir, parts, signals, lock).run()


def lock_on_first_rank(run_dir: Path, data_root: str, at_end: ExitStack) -> RunLock | None:
    """Locks the run folder until the end; only the first rank has the lock, and all fail alike."""
    held = []

    def lock() -> None:
        check_out(run_dir, "a run", data_root)
        held.append(at_end.enter_context(locked(run_dir, tell)))

    made_by_first_rank(lock)
    return held[0] if held else None


def run_of(checkpoint: Checkpoint | None, run_dir: Path) -> Path:
    """The folder of the run that the checkpoint is of; a new run's own."""
    if checkpoint is None or checkpoint.path.parent.name != CHECKPOINTS:
        return run_dir
    return checkpoint.path.parent.parent


def keep_short_step(config: Config, checkpoint: Checkpoint) -> Config:
    """The config with the `loss.short_step` that the resumed run began with."""
    kept = as_it_began(config, checkpoint)
    if kept != config:
        tell(f"loss.short_step stays {kept.loss.short_step}, as this run began")
    return kept


def find_data(config: Config) -> Config:
    """The config with the format and the splits of the data that lies there."""
    data, told = from_first_rank(locate(config.data) if is_first() else (config.data, ""))
    if told:
        tell(told)
    return replace(config, data=data)


def is_finished(run_dir: Path, parts: Parts) -> bool:
    """Returns whether the last step has been taken and its evaluation, if any, written."""
    last = parts.length.last_step
    return parts.state.step >= last and (
        parts.eval_data is None
        or (run_dir / EVALUATION).exists()
        and has_evaluation(run_dir / METRICS, last)
    )


def describe(
    run_dir: Path,
    config: Config,
    parts: Parts,
    history: Sequence[Change],
    kept: Mapping[str, bool] | None,
) -> None:
    """Creates the run folder with config.yaml, environment.json and a division of the images.

    The settings that were changed on the way are in changes.jsonl and at the end of config.yaml.
    The names of the division `kept` of the run before stay in that of this one.
    """
    (run_dir / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    write_changes(run_dir, history)
    write_whole(run_dir / CONFIG, to_yaml(config) + as_lines(history))
    if config.data.eval_split == SHARE and parts.eval_data is not None:
        train, evaluation = (
            [record.image_id for record in data.records]
            for data in (parts.train_data, parts.eval_data)
        )
        write_division(run_dir / DIVISION, train, evaluation, kept)
    environment = json.dumps(describe_environment(parts.device), indent=2)
    write_whole(run_dir / ENVIRONMENT, environment + "\n")


def tell(text: str) -> None:
    """Prints a text, once for all ranks."""
    if is_first():
        print(text, flush=True)


def find_on_first_rank(run_dir: Path, resume: str) -> Checkpoint | None:
    """The checkpoint that the first rank finds; others may see a shared disk as it was before."""
    found = find_checkpoint(run_dir, resume) if is_first() else None
    path = from_first_rank(found.path if found else None)
    return found if is_first() or path is None else load_checkpoint(path)


def find_checkpoint(run_dir: Path, resume: str) -> Checkpoint | None:
    """The checkpoint to resume from, or None for a new run.

    Raises:
        UserError: `never` meets checkpoints, `auto` finds some but none intact, a run has lost
            its checkpoints, or the given one is damaged or older than one in the folder.
    """
    folder = run_dir / CHECKPOINTS
    if resume == "never":
        if list_checkpoints(folder):
            raise UserError(
                f"{run_dir} already holds a run, and --resume is never: give another --out, or "
                "--resume auto to continue it"
            )
        refuse_lost_checkpoints(run_dir)
        return None
    if resume != "auto":
        if not Path(resume).is_dir():
            raise UserError(
                f"--resume is {resume}, which is not a folder: give auto, never, or a checkpoint "
                f"such as {folder}/step_1000"
            )
        if not (Path(resume) / MANIFEST_FILE).exists():
            raise UserError(
                f"--resume is {resume}, which is no checkpoint: give one such as "
                f"{folder}/step_1000, or --out {resume} to resume that run"
            )
        given = load_checkpoint(Path(resume))
        newer = [path for path in list_checkpoints(folder) if step_of(path) > given.manifest.step]
        if newer:
            raise UserError(
                f"{run_dir} already holds {newer[0].name}, which is newer than {resume}: give "
                "another --out to continue from there"
            )
        return given
    checkpoint = newest_intact(folder)
    if checkpoint is None:
        refuse_lost_checkpoints(run_dir)
    else:
        tell(f"resuming from {checkpoint.path}")
    return checkpoint


def refuse_lost_checkpoints(run_dir: Path) -> None:
    """Raises a UserError if a run without checkpoints has had some.

    A run that was killed before its first checkpoint has not: it has the folder for them, and no
    evaluation, which comes after one. It starts anew.
    """
    rows = read_rows(run_dir / METRICS)
    made = [name for name in (EVALUATION, REPORT) if (run_dir / name).exists()]
    if made or only(EvaluationRow, rows) or (rows and not (run_dir / CHECKPOINTS).exists()):
        raise UserError(
            f"{run_dir} holds the results of a run, but none of its checkpoints: put "
            f"{CHECKPOINTS}/ back, or give another --out"
        )
