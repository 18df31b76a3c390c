"""Every command once in a fresh interpreter: the others are forked from one that has started."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ssd.commands.main import COMMANDS

TOOLS = {"check_data": "check"} | {
    name: name for name in ("train", "evaluate", "predict", "export", "spikes")
}
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from ssd.commands.main import main
main({arguments!r})
"""


def started(*command, **more):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", **more.pop("env", {})}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, env=environment, **more
    )


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_is_a_door_to_its_command(repository, name):
    done = started(repository / "tools" / f"{name}.py", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: ssd {TOOLS[name]}")


def test_the_benchmark_starts_in_any_folder(repository):
    done = started(repository / "tools" / "benchmark.py", "--help")
    assert done.returncode == 0, done.stderr


LOSSES = "\n".join(str(1 + 0.1 * (step % 3)) for step in range(90))


@pytest.mark.parametrize("home", ["empty", "/proc/nowhere"])
def test_a_library_that_makes_its_cache_says_nothing(tmp_path, home):
    """Matplotlib collects the fonts of a new user, and complains of a home without room for it."""
    (tmp_path / "losses.csv").write_text(LOSSES)
    environment = {"HOME": str(tmp_path / home), "MPLCONFIGDIR": "", "XDG_CACHE_HOME": ""}
    done = started("-m", "ssd", "spikes", "--explain", "losses.csv", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No regular spike")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("whole", [[], ["all"]])
def test_help_teaches_without_torch(name, whole):
    done = started("-c", WITHOUT_TORCH.format(arguments=[name, "--help", *whole]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: ssd {name}")
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    for word in ("<class", "Union", "Literal", "Optional", "--data CONFIG"):
        assert word not in done.stdout


def test_help_shows_the_settings_that_a_command_uses():
    short, whole = (started("-m", "ssd", "train", "--help", *more).stdout for more in ([], ["all"]))
    assert 10 <= short.count("\n  --") - 3 <= 15
    assert "--optimizer.bias_lr_factor" not in short
    assert "--optimizer.bias_lr_factor X" in whole
    predict = started("-m", "ssd", "predict", "--help", "all").stdout
    assert "--evaluation.nms_iou" in predict
    assert "--optimizer" not in predict
    assert "--data.cache" not in predict


def test_a_training_starts_in_a_fresh_interpreter(small_run, tmp_path):
    done = started("-m", "ssd", "train", *small_run, "--training.steps", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "run" / "evaluation.json").exists()


ANNOUNCED = """
import signal, sys
from ssd.commands import status
take = signal.signal
def announced(number, handler):
    before = take(number, handler)
    print("ready", flush=True)
    return before
status.signal.signal = announced
from ssd.commands.main import door
sys.argv[1:] = {arguments!r}
door("train")
"""


@pytest.mark.parametrize("seconds", [0, 0.1, 0.3, 0.6, 1, 1.5, 2, 3])
def test_ctrl_c_while_it_starts_is_one_line(small_run, seconds):
    """From the moment at which the command has the signal; before is the interpreter alone."""
    script = ANNOUNCED.format(arguments=[*small_run, "--out", "run"])
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    told, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_console_without_utf8_gets_replacements(encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "ssd", "--help"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    dots = b"\x85" if encoding == "cp1252" else b"?"
    assert done.stdout.startswith(b"usage: ssd COMMAND " + dots)


def test_an_out_that_is_no_utf8_is_refused_in_one_line(small_run):
    done = started(
        "-m", "ssd", "train", *small_run, "--out", b"caf\xe9".decode(errors="surrogateescape")
    )
    assert done.returncode == 2
    assert "is not UTF-8" in done.stderr
    assert done.stderr.count("\n") == 1
