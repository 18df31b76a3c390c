"""What works without that which only Linux has. Nobody has run it on another system."""

import subprocess
import sys

import pytest

# `platform` takes effect after the imports of other packages, which would look for their own files.
ELSEWHERE = """
import builtins, io, os, signal, sys

sys.modules["fcntl"] = sys.modules["resource"] = None
sys.modules["huggingface_hub"] = None  # of timm, which Albumentations looks for; it warns
import albumentations, cv2, jsonargparse, matplotlib.figure, multiprocessing, pycocotools.cocoeval
import torch, torchvision, tqdm.auto
import torch.utils.tensorboard

for module, names in {{
    os: (
        *("fork", "forkpty", "memfd_create", "posix_fallocate", "sched_getaffinity", "sysconf"),
        *("register_at_fork", "O_DIRECTORY", "killpg", "getuid", "uname", "wait4"),
    ),
    signal: ("SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "SIGHUP", "SIGPIPE", "setitimer"),
}}.items():
    for name in names:
        delattr(module, name)


def opened(file, *arguments, real=io.open, **more):
    if str(file).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return real(file, *arguments, **more)


io.open = builtins.open = opened
sys.platform = {platform!r}
from ssd.commands.main import main
sys.exit(main({arguments!r}))
"""


@pytest.fixture(params=["darwin", "win32"])
def elsewhere(request):
    """Runs a command without what Linux alone has; returns the finished process."""

    def run(*arguments):
        program = ELSEWHERE.format(platform=request.param, arguments=list(map(str, arguments)))
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_elsewhere_it_trains_evaluates_predicts_and_explains(elsewhere, small_run, small_shapes):
    steps = ("--training.steps", "2", "--evaluation.every_epochs", "0", "--out", "run")
    done = elsewhere("train", *small_run, *steps, "--data.workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "data.workers is 2, but workers need Linux: this process decodes the images\n"
    )
    assert "best      mAP" in done.stdout
    for arguments in (
        ("evaluate", "run", "--data.workers", "auto"),
        ("predict", "run", next((small_shapes / "JPEGImages").iterdir())),
        ("check", small_shapes, "--show", "2"),
        ("spikes", "--explain", "run"),
    ):
        done = elsewhere(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_elsewhere_a_run_goes_on_with_the_number_of_workers_that_it_finds(elsewhere, small_run):
    steps = ("--evaluation.every_epochs", "0", "--out", "run", "--data.workers", "auto")
    for last in (2, 3):
        done = elsewhere("train", *small_run, *steps, "--training.steps", last)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert "workers   0 (data.workers auto: only Linux has workers)" in done.stdout
    assert "resuming from run/checkpoints/step_2" in done.stdout


def test_elsewhere_no_memory_is_shared(elsewhere, small_run):
    done = elsewhere("train", *small_run, "--data.cache", "host", "--out", "run")
    assert done.returncode == 1  # without the door of the command, which prints one line
    assert "data.cache is host, which needs Linux: give --data.cache none" in done.stderr
