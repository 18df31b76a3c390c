"""Runs the parts in a process of their own, and goes on in another one after a part that fails.

After an error, a GPU may refuse all further work of a process, and a kernel may never end. So the
process of the parts ends with the first part that fails, or is killed when a part's time is up. The
next process starts with the part that follows. It costs some seconds, but only after a failure.

The two sides exchange JSON in lines. The benchmark sends one to the process, with the parts to
measure. It answers `begins`, the `row`s and `ends` of each part.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.rows import Known, Note, Options, Part, Row
from ssd.common.errors import UserError, one_line

START_LIMIT = 60.0  # seconds until a process begins its first part
LOOK = 0.2  # seconds between two looks for a process that ended in silence
KILL_LIMIT = 10.0  # seconds to wait for the end of a process that was killed
LEAST = 5.0  # seconds; with fewer left, no part begins

Message = dict[str, Any]
Tell = Callable[[Row | Note], None]


def run_parts(
    parts: Mapping[str, Part], options: Options, seconds: float, command: Sequence[str], tell: Tell
) -> None:
    """Measures the parts in their order.

    Args:
        parts: by name.
        options: of the user.
        seconds: for all parts together.
        command: starts a process that calls `serve` with the same parts.
        tell: takes each row as soon as it is there, and a note for each part without an end.
    """
    end = time.monotonic() + seconds
    known: Known = {}
    waiting = list(parts)
    while waiting and time.monotonic() + LEAST < end:
        with started(command, {"parts": waiting, "options": asdict(options), "known": known}) as it:
            process, messages = it
            waiting = follow(
                process, messages, {p: parts[p].limit for p in waiting}, end, tell, known
            )
    for part in waiting:
        tell(Note(part, "left out, no time"))


def follow(
    process: subprocess.Popen[str],
    messages: queue.Queue[Message],
    limits: Mapping[str, float],
    end: float,
    tell: Tell,
    known: Known,
) -> list[str]:
    """Tells what a process measures, until a part fails; returns the parts after that one."""
    waiting, limit = list(limits), START_LIMIT
    deadline = time.monotonic() + limit
    while waiting:
        reason = ""
        match next_message(process, messages, min(deadline, end)):
            case {"begins": part}:
                limit = limits[part]
                deadline = time.monotonic() + limit
            case {"row": row}:
                known[row["what"]] = row["number"]
                tell(Row(**row))
            case {"ends": part, "problem": problem}:
                reason = f"failed: {problem}" if problem else ""
                waiting.remove(part)
            case _:
                reason, part = why_silent(process, limit, end), waiting.pop(0)
        if reason:
            tell(Note(part, reason))
            break
    return waiting


def next_message(
    process: subprocess.Popen[str], messages: queue.Queue[Message], deadline: float
) -> Message | None:
    """The next message; None if the process has ended or the time is up."""
    while True:
        ended = process.poll() is not None
        with suppress(queue.Empty):
            return messages.get(timeout=LOOK)
        if ended or time.monotonic() > deadline:
            return None


def why_silent(process: subprocess.Popen[str], limit: float, end: float) -> str:
    """Tells in a few words why no message came."""
    if process.poll() is not None:
        code = process.returncode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return f"failed: its process ended {how}"
    return "stopped, no time" if time.monotonic() >= end else f"failed: no end after {limit:g} s"


@contextmanager
def started(
    command: Sequence[str], request: Message
) -> Generator[tuple[subprocess.Popen[str], queue.Queue[Message]], None, None]:
    """A process and its messages; at the end it is killed, with all processes that it started."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None
    messages: queue.Queue[Message] = queue.Queue()

    def read() -> None:
        with answers, suppress(ValueError):  # a line that a killed process did not finish
            for line in answers:
                messages.put(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        with suppress(BrokenPipeError):
            requests.write(json.dumps(request) + "\n")
            requests.flush()  # it stays open: its end tells the process that we have gone
        yield process, messages
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # the driver may hold a process for ever
            process.wait(KILL_LIMIT)
        with suppress(BrokenPipeError):
            requests.close()
        reader.join(KILL_LIMIT)


def serve(parts: Mapping[str, Part]) -> None:
    """Measures the parts that the benchmark asks for on stdin, and ends after one that fails."""
    # Whatever else prints must not mix with the messages.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(**message: object) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_the_benchmark, daemon=True).start()
    options, known = Options(**request["options"]), request["known"]
    for part in request["parts"]:
        send(begins=part)
        problem = ""
        try:
            for row in parts[part].measure(options, known):
                known[row.what] = row.number
                send(row=asdict(row))
        except Exception as error:
            problem = explained(error)
        send(ends=part, problem=problem)
        if problem:
            return


def end_with_the_benchmark() -> None:
    """Ends this process when the benchmark has ended, however that came."""
    # Not `sys.stdin`: a forked worker would wait forever for the lock that its reader holds.
    while os.read(0, 1):
        pass
    os._exit(1)


def explained(error: Exception) -> str:
    """An error in a line; a defect also prints its traceback."""
    if isinstance(error, UserError):
        return one_line(error)
    traceback.print_exception(error)
    return f"{type(error).__name__}: {one_line(error)[:200]}"
