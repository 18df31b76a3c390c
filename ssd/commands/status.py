"""Ends a command: sets its exit status, and prints one line for a user's mistake."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from ssd.common.errors import UserError, one_line
from ssd.common.terminal import marked

USER_MISTAKE = 2
INTERRUPTED = 130
NOBODY_READS = 141
NOT_OUR_FAULT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


def run(main: Callable[[Sequence[str]], int]) -> None:
    """Runs a command and exits with its status.

    A user's mistake, or a file error such as a full disk, ends in one line on stderr and status 2.
    Any other error is a defect and keeps its traceback.
    """
    if sys.stderr is None:  # the shell has closed it, and a progress bar would not start
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - to the end of the process
    print_anything()
    previous = signal.signal(signal.SIGINT, leave)
    try:
        status = main(sys.argv[1:])
    except UserError as error:
        print(marked(f"error: {one_line(error)}", sys.stderr), file=sys.stderr)
        status = USER_MISTAKE
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        status = NOBODY_READS
    except OSError as error:
        if error.errno not in NOT_OUR_FAULT:
            raise
        print(marked(f"error: {explained(error)}", sys.stderr), file=sys.stderr)
        status = USER_MISTAKE
    finally:
        signal.signal(signal.SIGINT, previous)
    sys.exit(status)


def print_anything() -> None:
    """Makes the console replace letters that it does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def explained(error: OSError) -> str:
    """A file error in words for a user."""
    where = error.filename or "the output folder"
    return f"cannot use {where}: {error.strerror}: fix that, or choose another location"


def leave(number: int, frame: FrameType | None) -> None:
    """Ends the process at Ctrl-C, in one line.

    No KeyboardInterrupt: PyTorch swallows it while it imports NumPy, and goes on with half of it.
    Training has a handler of its own, which saves first.
    """
    os.write(2, b"\ninterrupted\n")
    os._exit(INTERRUPTED)
