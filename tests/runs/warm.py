"""A process that has imported what the tools need, and forks a child for each command.

A fresh interpreter imports for seconds; a fork starts at once. The parent computes nothing, since
the children of a parent whose PyTorch has started threads would wait for them forever.

Both sides of the pipe speak in lines of JSON: a request goes in, the number of the child and then
its exit status come out.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

IMPORTED = (
    *("torch", "torchvision", "albumentations", "pycocotools.cocoeval", "hotcoco", "jinja2"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "torch.utils.tensorboard"),
    *("ssd.commands.train", "ssd.commands.evaluate", "ssd.commands.predict"),
    *("ssd.commands.export", "ssd.commands.check", "ssd.commands.spikes", "ssd.experiment.run"),
)


class WarmParent:
    """Runs tools in forked children, one at a time; `folder` takes what they print."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        unseen = os.environ | {"CUDA_VISIBLE_DEVICES": "", "NO_ALBUMENTATIONS_UPDATE": "1"}
        self._parent = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=unseen,
        )

    def run(
        self, script: Path, arguments: list[str], timeout: float, prepare: str = ""
    ) -> subprocess.CompletedProcess:
        """Runs a script as `python script arguments` would, in the current folder.

        Args:
            script: the file.
            arguments: its arguments.
            timeout: seconds after which it is killed.
            prepare: Python that the child runs first, to patch what the script will use.
        """
        out, err = self._folder / "out", self._folder / "err"
        words = [str(script), *arguments]
        request = {"cwd": os.getcwd(), "argv": words, "out": str(out), "err": str(err)}
        self._parent.stdin.write(json.dumps(request | {"prepare": prepare}) + "\n")
        self._parent.stdin.flush()
        child = int(self._parent.stdout.readline())
        killer = threading.Timer(timeout, os.kill, (child, signal.SIGKILL))
        killer.start()
        status = int(self._parent.stdout.readline())
        killer.cancel()
        told = out.read_text(errors="replace"), err.read_text(errors="replace")
        return subprocess.CompletedProcess(words, status, *told)

    def close(self) -> None:
        """Ends the parent."""
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait(timeout=60)


def live(request: dict) -> int:
    """The life of a child; returns its exit status."""
    os.chdir(request["cwd"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv[:] = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # tqdm's own is all children's, and is killed with one
        exec(request["prepare"], {})
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    for name in IMPORTED:
        __import__(name)
    pipe = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            status = live(request)
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
        os.write(pipe, f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        os.write(pipe, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
