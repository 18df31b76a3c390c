"""Where a run starts: in a new folder, or at a checkpoint; then it trains."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ssd.config import Config
from ssd.errors import UserError
from ssd.files import write_whole
from ssd.results import EVALUATION_FILE
from ssd.settings import to_yaml
from ssd.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    newest_intact,
    step_of,
)
from ssd.training.device import choose_device
from ssd.training.distributed import from_first_rank, is_first, joined_ranks, world_size
from ssd.training.metrics import METRICS_FILE
from ssd.training.preempt import STOPPED_BY_SIGNAL, Signals, Stopped
from ssd.training.rows import has_evaluation
from ssd.training.trainer import DONE, Trainer

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "tensorboard",
)
SHOWN_CLASSES = 25


def train(config: Config, run_dir: Path, resume: str) -> int:
    """Trains in `run_dir`; returns the exit status.

    Args:
        config: the whole run.
        run_dir: the run folder; made if need be.
        resume: `auto` goes on at the newest intact checkpoint of the folder, if it has one;
            `never` wants a fresh folder; anything else is the path of a checkpoint.

    Raises:
        UserError: something that the user gave does not work.
    """
    with joined_ranks(choose_device(config.training.device)), Signals() as asked:
        try:
            with asked.interrupting():
                trainer = prepared(config, run_dir, resume)
        except Stopped:
            tell("stopped before the first step")
            return STOPPED_BY_SIGNAL
        if from_first_rank(is_finished(trainer)):
            tell(
                f"it is trained to its last step {trainer.last_step} already: tools/evaluate.py "
                f"{trainer.run_dir} evaluates it, another --out starts anew"
            )
            return DONE
        if is_first():
            describe(trainer)
        status = trainer.run(asked)
        if status == STOPPED_BY_SIGNAL:
            tell(f"the same command with --out {trainer.run_dir} goes on")
        return status


def prepared(config: Config, run_dir: Path, resume: str) -> Trainer:
    """The run, where it starts or goes on; says what is about to happen."""
    run_dir = from_first_rank(run_dir)  # it may be named after the time
    trainer = Trainer(config, run_dir, find_on_first_rank(run_dir, resume))
    tell(summary(trainer))
    return trainer


def is_finished(trainer: Trainer) -> bool:
    """Whether the last step is taken, and its evaluation written."""
    run_dir, last = trainer.run_dir, trainer.last_step
    return (
        trainer.state.step >= last
        and (run_dir / EVALUATION_FILE).exists()
        and has_evaluation(run_dir / METRICS_FILE, last)
    )


def describe(trainer: Trainer) -> None:
    """Makes the run folder, with the config and what the run depends on besides it."""
    run_dir = trainer.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    write_whole(run_dir / "config.yaml", to_yaml(trainer.config))
    environment = json.dumps(describe_environment(trainer.device), indent=2)
    write_whole(run_dir / "environment.json", environment + "\n")


def tell(text: str) -> None:
    """Prints a text, once for all ranks."""
    if is_first():
        print(text, flush=True)


def find_on_first_rank(run_dir: Path, resume: str) -> Checkpoint | None:
    """The checkpoint that the first rank finds: others may see a shared disk as it was before."""
    found = find_checkpoint(run_dir, resume) if is_first() else None
    path = from_first_rank(found.path if found else None)
    return found if is_first() or path is None else load_checkpoint(path)


def find_checkpoint(run_dir: Path, resume: str) -> Checkpoint | None:
    """The checkpoint at which to go on, or None to start.

    Raises:
        UserError: `never` meets a run, no checkpoint of a run is intact, or the path is none.
    """
    folder = run_dir / "checkpoints"
    if resume == "never":
        if list_checkpoints(folder):
            raise UserError(
                f"{run_dir} holds a run already, and --resume is never: give another --out, or "
                "--resume auto to go on with it"
            )
        return None
    if resume != "auto":
        given = load_checkpoint(Path(resume))
        newer = [path for path in list_checkpoints(folder) if step_of(path) > given.manifest.step]
        if newer:
            raise UserError(
                f"{run_dir} holds {newer[0].name} already, which is newer than {resume}: give "
                "another --out to go on from there"
            )
        return given
    checkpoint, problems = newest_intact(folder)
    for problem in problems:
        print(f"passed over: {problem}", file=sys.stderr)
    if checkpoint is None and problems:
        raise UserError(
            f"no checkpoint in {folder} is intact: mend one, or give another --out to start anew"
        )
    if checkpoint is not None:
        tell(f"going on at {checkpoint.path}")
    return checkpoint


def summary(trainer: Trainer) -> str:
    """What is about to happen, in a few lines."""
    config, data = trainer.config, trainer.train_data
    changed = [f"{count} {name}" for name, count in data.counts.items() if count]
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    numbers = "fp32" if trainer.dtype is None else str(trainer.dtype).removeprefix("torch.")
    return "\n".join(
        [
            f"data      {len(data.records)} images to train on ({', '.join(changed)}), "
            f"{len(trainer.eval_data.records)} to evaluate on",
            *([f"cache     {trainer.feed.cache_line}"] if trainer.feed.cache_line else []),
            f"classes   {class_counts(trainer.objects_per_class)}",
            f"model     {config.model.backbone} at {config.model.input_size} pixels: "
            f"{parameters / 1e6:.1f} million parameters, {len(trainer.model.default_boxes)} "
            "default boxes",
            *([f"weights   {trainer.starts_from}"] if trainer.starts_from else []),
            f"training  steps {trainer.state.step + 1} to {trainer.last_step}, "
            f"{trainer.order.steps_per_epoch} an epoch, on {trainer.device} in {numbers}"
            + (f", {world_size()} ranks" if world_size() > 1 else ""),
            *learning_rate_line(trainer),
            f"results   {trainer.run_dir}",
        ]
    )


def learning_rate_line(trainer: Trainer) -> list[str]:
    """The learning rate, where it was fitted to the images of a step."""
    config, images = trainer.config.optimizer, trainer.order.images_per_step
    if config.lr_images is None:
        return []
    lr = trainer.optimizer.lr
    return [f"lr        {lr:g}: {config.lr:g} x {images} images a step / {config.lr_images}"]


def class_counts(objects: dict[str, int]) -> str:
    """The classes with their objects; of many the most frequent."""
    most = sorted(objects.items(), key=lambda item: -item[1])[:SHOWN_CLASSES]
    shown = objects if len(objects) <= SHOWN_CLASSES else dict(most)
    more = f" and {len(objects) - len(shown)} more" if len(shown) < len(objects) else ""
    return ", ".join(f"{name} ({count})" for name, count in shown.items()) + more


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What a run depends on besides its config."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "packages": {name: installed_version(name) for name in PACKAGES},
    }


def git_commit() -> str | None:
    """The commit of this code, `-dirty` if it was changed; None without git.

    A container has no git: the Dockerfile tells it in `SSD_COMMIT`.
    """
    if told := os.environ.get("SSD_COMMIT"):
        return told
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None


def installed_version(package: str) -> str | None:
    """The version of a package, or None where it is not installed under that name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
