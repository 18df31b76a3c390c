"""Worker processes that do the tasks of a list, whichever is free the next one.

PyTorch's DataLoader deals the tasks out in turn. To make up for slow ones, it needs two of them
ahead for each worker, and so twice the memory. Its threads also take the interpreter away from the
loop that starts the kernels of a training step.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Lock
from typing import Any

import cv2
import torch

from ssd.common.errors import UserError

LONGEST_WAIT = 300  # seconds to wait for a result
LONGEST_END = 5  # seconds for a killed process to end; where storage hangs, it does not
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h

Work = Callable[[int, Any], Any]


class Workers:
    """Processes forked from this one, each of which takes the next task when it is free.

    Every process has its own copy of `tasks`, as of the fork, so that a task is asked for by its
    number alone. The caller has to call `close`.

    Args:
        work: makes the result of a task, from a place's number and the task.
        tasks: in an order that does not depend on the process.
        count: processes.
    """

    def __init__(self, work: Work, tasks: Iterable[Any], count: int) -> None:
        context = multiprocessing.get_context("fork")  # workers share memory with this process
        tickets, self._tickets = context.Pipe(duplex=False)
        self._processes: dict[Connection, BaseProcess] = {}
        self._results: dict[int, Any] = {}
        lock = context.Lock()
        for _ in range(count):
            receiver, sender = context.Pipe(duplex=False)
            of_the_parent = [self._tickets, receiver, *self._processes]
            arguments = work, tasks, tickets, lock, sender, of_the_parent
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            sender.close()
            self._processes[receiver] = process
        tickets.close()

    def ask(self, number: int, place: int) -> None:
        """Asks for a task's result, to be made in a place; the numbers have to increase."""
        with suppress(BrokenPipeError):  # all have been killed, which `result` tells
            self._tickets.send((number, place))

    def result(self, number: int) -> Any:
        """The result of a task that was asked for.

        Raises:
            UserError: the task ended so, a worker was killed, or no result came for
                `LONGEST_WAIT`.
            RuntimeError: the task failed otherwise.
        """
        while number not in self._results:
            ready = wait(self._processes, LONGEST_WAIT)
            if not ready:
                raise _stopped(f"none for {LONGEST_WAIT} seconds")
            for receiver in ready:
                done, result = self._received(receiver)
                self._results[done] = result
        result = self._results.pop(number)
        if isinstance(result, UserError):
            raise result
        if isinstance(result, _Failure):
            raise RuntimeError(f"a worker failed:\n{result.traceback}")
        return result

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        for process in self._processes.values():
            process.kill()
        for receiver, process in self._processes.items():
            process.join(LONGEST_END)
            receiver.close()
        self._tickets.close()

    def _received(self, receiver: Any) -> tuple[int, Any]:
        try:
            number, result = receiver.recv()
        except (EOFError, OSError):  # the end of the pipe, before or in a message
            process = self._processes[receiver]
            process.join()
            status = process.exitcode or 0
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "has ended"
            raise _stopped(f"a worker {how}") from None
        return number, result


@dataclass(frozen=True)
class _Failure:
    """An exception that is a bug, as text."""

    traceback: str


def _serve(
    work: Work,
    tasks: Iterable[Any],
    tickets: Connection,
    lock: Lock,
    sender: Connection,
    of_the_parent: list[Connection],
) -> None:
    """Does tasks until the parent ends, which closes the pipes."""
    start_worker()
    for connection in of_the_parent:  # copies, which would keep the pipes open
        connection.close()
    numbered = enumerate(tasks)
    with suppress(EOFError, BrokenPipeError):
        while True:
            with lock:
                number, place = tickets.recv()
            task = next(task for each, task in numbered if each == number)
            sender.send((number, _attempt(work, place, task)))


def _attempt(work: Work, place: int, task: Any) -> Any:
    try:
        return work(place, task)
    except UserError as error:
        return error
    except Exception:
        return _Failure(traceback.format_exc())


def start_worker() -> None:
    """Ignores stop signals, limits PyTorch and OpenCV to one thread, and keeps freed memory.

    Ctrl-C and a cluster's signals reach all processes of a run, and the parent handles them.
    Workers share the cores. The C library would give the memory of a decoded image back to the
    system and ask for that of the next one page by page, which can take as long as decoding it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # glibc
        set_option(M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
        set_option(M_TRIM_THRESHOLD, 1 << 30)


def _stopped(what: str) -> UserError:
    return UserError(
        f"no more images came ({what}): check that the storage of data.root responds and that "
        "memory is free; fewer data.workers need less memory"
    )
