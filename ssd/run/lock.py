"""The lock on a run folder: one training at a time writes in it.

`running.json` in the folder names the process that trains. On one machine, with all its containers,
the kernel's lock on that file decides (`flock`): it ends with the process, however that ends, and
takes no notice of host names and process numbers, which containers may share. Machines that share a
disk need not see each other's kernel locks. There the file's time of change decides: the process
touches the file every few seconds, and another machine waits a minute for that before it takes the
folder over. A process that finds itself replaced in the file stops without writing.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ssd.common.errors import UserError
from ssd.run.names import RUNNING

try:
    import fcntl
except ImportError:  # Windows has none: there, the time of change decides alone
    fcntl = None  # type: ignore[assignment]

BEAT = 10.0  # seconds from one sign of life to the next
SILENCE = 60.0  # seconds without one after which another machine may take the folder over
LONG_AGO = 600.0  # seconds after which it need not wait for one: clocks do not differ by so much
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_files: set[int] = set()  # of the locks that this process holds


@dataclass(frozen=True)
class Owner:
    """The process that trains in a folder.

    Attributes:
        host: name of its machine or container.
        process: its number there.
        since: the time of its start, UTC.
        machine: tells machines apart, not the containers on one; another one after a restart.
        token: random; tells it from all other processes.
    """

    host: str
    process: int
    since: str
    machine: str
    token: str

    def __str__(self) -> str:
        """The owner in words."""
        return f"process {self.process} on {self.host} (since {self.since})"


class RunLock:
    """The lock that this process holds on a run folder; `locked` makes it."""

    def __init__(self, path: Path, file: int, owner: Owner) -> None:
        self._path, self._file, self._owner = path, file, owner
        self._other: Owner | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="sign of life", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Makes sure that the folder is still this process's.

        Raises:
            UserError: another process has taken it over.
        """
        if self._other is not None:
            raise UserError(
                f"{self._path.parent} was taken over by {self._other}, since this process gave no "
                f"sign of life for {SILENCE:g} seconds: it stops without saving"
            )

    def release(self) -> None:
        """Gives the folder back, and removes `running.json`."""
        self._ended.set()
        self._thread.join(timeout=1)  # on a dead disk it hangs
        with suppress(OSError):
            if self._other is None:
                os.ftruncate(self._file, 0)  # where an open file cannot be removed, it is empty
                self._path.unlink()
        _files.discard(self._file)
        os.close(self._file)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                found = _owner(self._path)
                if found is not None and found != self._owner:
                    self._other = found
                    return
                os.utime(self._path)


@contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[RunLock]:
    """Locks a run folder while a training writes in it; creates the folder if need be.

    A folder that was created for it is removed if it is still empty at the end.

    Args:
        folder: the run folder.
        say: takes a line if the folder is taken over from another machine.

    Raises:
        UserError: another training writes in it.
        OSError: the folder cannot be written to.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUNNING
    file, kernel_decides = _lock_file(path)
    _files.add(file)
    try:
        before = _owner(path)
        if before is not None and not (kernel_decides and before.machine == _machine()):
            _await_silence(path, before, say)
        owner = _this_process()
        os.ftruncate(file, 0)
        os.write(file, json.dumps(asdict(owner), indent=2).encode() + b"\n")
        os.fsync(file)
    except BaseException:
        _files.discard(file)
        os.close(file)
        raise
    lock = RunLock(path, file, owner)
    try:
        yield lock
    finally:
        lock.release()
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def trains_in(folder: Path) -> Owner | None:
    """The process that trains in a run folder now, if any."""
    path = folder / RUNNING
    try:
        owner = _owner(path)
        if owner is None or owner.machine != _machine() or fcntl is None:
            return owner if owner and time.time() - _changed(path) < SILENCE else None
        file = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return owner
        finally:
            os.close(file)
    except OSError:
        pass
    return None


def _lock_file(path: Path) -> tuple[int, bool]:
    """The file with the kernel's lock on it, and whether the disk has such locks.

    Raises:
        UserError: another process has the lock.
    """
    for attempt in range(20):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if fcntl is None:
                return file, False
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                return file, True
        except FileNotFoundError:
            pass  # its owner has removed it
        except BlockingIOError:
            if attempt >= 3:  # before that it may be `trains_in`, which looks for a moment
                os.close(file)
                break
        except OSError:
            return file, False
        os.close(file)
        time.sleep(0.05)
    raise UserError(_refusal(path, _owner(path)))


def _await_silence(path: Path, owner: Owner, say: Callable[[str], None]) -> None:
    """Waits until the process of another machine gives no sign of life.

    Raises:
        UserError: it gives one.
    """
    last = _changed(path)
    if time.time() - last < LONG_AGO:
        say(f"{path.parent} is marked as {owner}'s: waiting {SILENCE:g} seconds for a sign of life")
        end = time.monotonic() + SILENCE
        while time.monotonic() < end and _owner(path) == owner:
            if _changed(path) != last:
                raise UserError(_refusal(path, owner))
            time.sleep(min(1.0, SILENCE / 10))
    say(f"{path.parent} is taken over from {owner}, which gives no sign of life")


def _refusal(path: Path, owner: Owner | None) -> str:
    who = "another process" if owner is None else str(owner)
    return (
        f"{path.parent} is being trained by {who}: wait for its end, stop it, or give another --out"
    )


def _owner(path: Path) -> Owner | None:
    """The owner that the file names; None if there is no file, or it was given back."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError):
        return None


def _changed(path: Path) -> float:
    """The file's time of change; opens it, since a network disk would answer from memory."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime


def _this_process() -> Owner:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Owner(socket.gethostname(), os.getpid(), now, _machine(), secrets.token_hex(8))


def _machine() -> str:
    """What all containers of a machine have in common, and no other machine: its start."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _close_in_child() -> None:
    """Closes the locks in a forked worker, which would hold them after a kill of the training."""
    for file in _files:
        with suppress(OSError):
            os.close(file)
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
