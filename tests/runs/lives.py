"""Lives of a training, each in a forked child, for scripts that end them.

A child of a parent whose PyTorch has started threads would wait for them forever. So the parent
computes nothing before its last child has ended.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

import ssd.training.start  # noqa: F401 - what a run imports, before it is forked

TRAIN = Path(__file__).parents[2] / "tools" / "train.py"
LONGEST_LIFE = 600


def flags(run_dir: Path, steps: int, workers: int) -> list[str]:
    """A run with epochs of six steps, each step saved and each epoch evaluated."""
    data = run_dir.with_name("data")
    settings = {
        **{"data.format": "voc", "data.root": data, "data.workers": workers},
        **{"model.input_size": 96, "optimizer.name": "sgd", "optimizer.lr": 0.005},
        **{"training.steps": steps, "training.batch_size": 2, "training.accumulate": 2},
        **{"training.device": "cpu", "training.deterministic": "true", "training.log_every": 4},
        **{"training.ema_decay": 0.99, "checkpoint.every_steps": 1},
        **{"evaluation.every_epochs": 1, "out": run_dir},
    }
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def born(arguments: list[str], log: Path, prepare: Callable[[], object] = bool) -> int:
    """Starts a training in a forked child with a process group of its own; returns its id.

    The child calls `prepare` first.
    """
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.argv = [str(TRAIN), *arguments]
        status = 1
        try:
            torch.set_num_threads(1)
            tqdm.set_lock(threading.RLock())  # tqdm's own is all children's, and is killed with one
            prepare()
            runpy.run_path(str(TRAIN), run_name="__main__")
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    with contextlib.suppress(OSError):  # it was quicker, or has ended already
        os.setpgid(child, child)
    return child


def lived(arguments: list[str], log: Path, is_time: Callable[[], bool]) -> bool:
    """Lets a training live until it is time to kill it; returns whether that came before its end.

    Raises:
        SystemExit: the training ended by itself, and not well.
    """
    status = end_of(born(arguments, log), is_time)
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"a training ended with status {status}:\n{log.read_text()[-3000:]}")
    return status != 0


def end_of(child: int, is_time: Callable[[], bool] = bool) -> int:
    """The exit status of a child, which is killed when it is time, at the latest after minutes."""
    latest = time.monotonic() + LONGEST_LIFE
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > latest:
            os.killpg(child, signal.SIGKILL)
            sys.exit(f"a training did not end within {LONGEST_LIFE} seconds")
        if is_time():
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.0002)
    return os.waitstatus_to_exitcode(found[1])
