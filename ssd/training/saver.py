"""Saves checkpoints in the background of the training, and tolerates a full disk.

It saves a copy of the state, since the next step changes the weights during the write.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from ssd.common.errors import UserError
from ssd.common.words import counted
from ssd.config import CheckpointConfig
from ssd.run.checkpoint import record_score, save_checkpoint
from ssd.run.checkpoints import prune


class Saver:
    """Writes the checkpoints of a run, one at a time, in a thread of its own.

    Args:
        folder: holds the run's checkpoints.
        config: how many checkpoints are kept, and how many may fail.
        config_yaml: the resolved config, saved with each checkpoint.
        classes: names of the classes, saved with each checkpoint.
        say: takes a warning.
    """

    def __init__(
        self,
        folder: Path,
        config: CheckpointConfig,
        config_yaml: str,
        classes: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._config = folder, config
        self._config_yaml, self._classes = config_yaml, classes
        self._say = say
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._failures: list[UserError] = []
        self._intact: set[Path] = set()

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Copies the state and starts writing it, after the previous write has finished.

        Raises:
            UserError: more checkpoints in a row could not be saved than the config allows.
        """
        self._wait()
        if len(self._failures) > self._config.max_failed:
            count = counted(len(self._failures), "checkpoint")
            raise UserError(
                f"{count} in a row could not be saved; the last error: {self._failures[-1]}"
            )
        self._writing = self._thread.submit(self._write, step, copied(state))

    def add_score(self, step: int, mean_average_precision: float) -> None:
        """Adds the result of an evaluation to its step's checkpoint; warns if that fails."""
        self._wait()
        try:
            record_score(self._folder / f"step_{step}", mean_average_precision)
        except (UserError, OSError) as error:
            what = f"the mAP of step {step} in its checkpoint"
            self._say(f"warning: could not store {what}: {error}")

    def finish(self) -> None:
        """Waits for the last checkpoint of a run.

        Raises:
            UserError: it could not be saved.
        """
        self._wait()
        if self._failures:
            raise self._failures[-1]

    def close(self) -> None:
        """Waits for the current write and ignores its outcome."""
        self._thread.shutdown()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write(self, step: int, state: dict[str, Any]) -> None:
        try:
            path = save_checkpoint(self._folder, step, state, self._config_yaml, self._classes)
        except UserError as error:
            self._failures.append(error)
            self._say(f"warning: {error}; training continues")
        else:
            self._failures.clear()
            self._intact.add(path)
            prune(self._folder, self._config.keep, self._intact)


def copied(state: Any) -> Any:
    """A nested state with all its tensors copied to the CPU."""
    match state:
        case Tensor():
            return state.detach().to("cpu", copy=True)
        case dict():
            return {key: copied(value) for key, value in state.items()}
        case list() | tuple():
            return type(state)(copied(value) for value in state)
        case _:
            return state
