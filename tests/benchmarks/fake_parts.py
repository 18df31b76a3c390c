"""Parts that need no GPU, and the process that runs them: `python fake_parts.py`."""

import os
import signal
import time

from benchmarks.gpu.processes import serve
from benchmarks.gpu.rows import Part, Row
from ssd.common.errors import UserError


def measures(options, known):
    print("what a library prints is no message")
    yield Row("rate", 50.0, "images/s", f"{options.workers} workers")
    yield Row("twice", 2 * known["rate"], "images/s")


def fails(_options, _known):
    yield Row("before the failure", 1.0, "ms")
    raise RuntimeError("no kernel\nfor this")


def mistake(_options, _known):
    raise UserError("there is no such folder")
    yield


def dies(_options, _known):
    if os.fork() == 0:  # a worker, which keeps the pipe open
        time.sleep(60)
    os.kill(os.getpid(), signal.SIGKILL)
    yield


def hangs(_options, _known):
    yield Row("before the hang", 2.0, "ms")
    time.sleep(60)


def knows(_options, known):
    yield Row("seen by the last part", len(known), "")


PARTS = {
    "measures": Part(10, measures),
    "fails": Part(10, fails),
    "mistake": Part(10, mistake),
    "dies": Part(10, dies),
    "hangs": Part(0.5, hangs),
    "knows": Part(10, knows),
}

if __name__ == "__main__":
    serve(PARTS)
