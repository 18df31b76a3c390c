"""Runs a command that opens an untrusted file in a process of its own.

The processor itself can end a runtime: at a division that has no result, for example. Python cannot
catch that, but the process that waits can say it in one line.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from ssd.common.errors import UserError
from ssd.training.signals import FORWARDED_SIGNALS

FORWARDED = (signal.SIGINT, signal.SIGTERM)
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>


def outlive(command: Callable[[], None], file: str) -> int:
    """Returns the exit status of a command. Its process gets the signals that this one gets.

    Those of a terminal reach both by themselves, as they go to a whole group.

    Args:
        command: ends with sys.exit, after any error is printed.
        file: the file that it runs.

    Raises:
        UserError: the system ended the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        os.environ[FORWARDED_SIGNALS] = "1"
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _end_with(command)
    try:
        status, forwarded = _wait_for(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if status >= 0:
        return status
    if -status not in forwarded:
        raise UserError(
            f"{file} cannot be run: {signal.Signals(-status).name} ended the process that ran it. "
            "Do not trust the file if it is not your own; if it is, export it anew"
        )
    return 128 - status


def _end_with(command: Callable[[], None]) -> None:
    """Ends this process after the command, with its status."""
    status = 1
    try:
        command()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait_for(child: int) -> tuple[int, set[int]]:
    """The exit status of a process, or minus the signal that ended it; the signals passed on."""
    forwarded = set()
    while True:
        told = signal.sigwaitinfo({*FORWARDED, signal.SIGCHLD})
        if told.si_signo != signal.SIGCHLD:
            forwarded.add(told.si_signo)
            if told.si_code <= 0:  # from a process, not from the terminal
                os.kill(child, told.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), forwarded
