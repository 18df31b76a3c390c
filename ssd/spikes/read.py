"""Reads the logs of a run of this framework or of any other trainer.

The content of a file decides its format, and its name does not:

| it begins with or holds | it is read by |
|---|---|
| TensorBoard's mark of an event file | `formats.events` |
| lines of `DLLL {` or `:::MLLOG {` | `formats.json_logs` |
| `{` or `[`, with rows of `"kind": "train"` | `formats.own_run` |
| `{` or `[` | `formats.json_logs` |
| lines of a family of text logs | `formats.text_logs` |
| anything else | `formats.csv_logs` |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.untrusted import LARGEST_LOG, read_regular, shown
from ssd.run.names import METRICS
from ssd.spikes.formats.csv_logs import read_csv
from ssd.spikes.formats.events import is_event_file, read_events
from ssd.spikes.formats.folder import find_files
from ssd.spikes.formats.json_logs import DLLOGGER, MLPERF, read_json, read_prefixed
from ssd.spikes.formats.logs import logs_of, told
from ssd.spikes.formats.own_run import run_log
from ssd.spikes.formats.table import COLUMNS_THAT_DO, Chosen, Table
from ssd.spikes.formats.text_logs import family_of, read_text
from ssd.spikes.log import Log

OWN_ROW = re.compile(r'^{[^\n]*"kind": *"(train|eval)"', re.MULTILINE)
OWN_WITHIN = 2**16
MOST_NAMED = 5
LONGEST_NAME = 60
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_logs(
    path: Path,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
    chosen: Chosen | None = None,
) -> list[Log]:
    """The logs in a file or in a folder, one for each run, in the order of the file.

    Args:
        path: a run folder of this framework, a log of another trainer, a folder of such logs, a
            table with a column for the loss, or a column of numbers, one loss a line.
        steps_per_epoch: optimizer steps of a pass; overrides what the file says.
        batch_size: images of a full step; overrides what the file says.
        chosen: the columns to read, where they have other names than usual.

    Raises:
        UserError: there is no log in it, or a given number is below 1.
    """
    for name, value in (("steps per epoch", steps_per_epoch), ("batch size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"the {name} given is {value}, but has to be at least 1")
    numbers = steps_per_epoch, batch_size
    if path.is_dir() and not (path / METRICS).exists():
        return _logs_of_folder(path, *numbers, chosen or Chosen())
    file = path / METRICS if path.is_dir() else path
    logs = _logs_of_file(str(path), file, *numbers, chosen or Chosen())
    return [replace(log, source=str(path)) for log in logs]


def read_log(
    path: Path,
    steps_per_epoch: int | None = None,
    batch_size: int | None = None,
    chosen: Chosen | None = None,
    run: str | None = None,
) -> Log:
    """The log of one run.

    Args:
        path: as in `read_logs`.
        steps_per_epoch: as in `read_logs`.
        batch_size: as in `read_logs`.
        chosen: as in `read_logs`.
        run: its name, or its number from 1 on; may be left out where there is only one.

    Raises:
        UserError: there is no such log, or there are several and `run` is not given.
    """
    return choose_run(read_logs(path, steps_per_epoch, batch_size, chosen), run)


def choose_run(logs: Sequence[Log], run: str | None) -> Log:
    """The log of a run by its name or number, or the only one.

    Raises:
        UserError: there is no such run, or there are several and `run` is not given.
    """
    names = [log.run for log in logs]
    if run is None and len(logs) == 1:
        return logs[0]
    if run is not None and run in names:
        return logs[names.index(run)]
    if run is not None and run.isdecimal() and 1 <= int(run) <= len(logs):
        return logs[int(run) - 1]
    said = "several runs" if run is None else f"no run {run!r}"
    listed = shown(numbered(logs)) if len(logs) > 1 else "it holds only one: leave --run out"
    raise UserError(
        f"{logs[0].source}: has {said}; choose one with --run, by number or name ({listed})"
    )


def numbered(logs: Sequence[Log]) -> list[str]:
    """The runs of a file as a user chooses them: `2: its name`."""
    return [f"{number}: {log.run[:LONGEST_NAME]}" for number, log in enumerate(logs, start=1)]


def _logs_of_folder(
    path: Path, steps_per_epoch: int | None, batch_size: int | None, chosen: Chosen
) -> list[Log]:
    """The logs of other trainers in a folder, named by their files.

    A file that cannot be read is left out, and the first log says so; if none can be, the folder is
    refused.
    """
    files = find_files(path)
    numbers = steps_per_epoch, batch_size
    if is_event_file(_read_bytes(files[0], 64)):
        return _logs_of_tables(str(path), read_events(str(path), files, path, chosen), *numbers)
    logs: list[Log] = []
    refusals: list[UserError] = []
    for file in files:
        try:
            found = _logs_of_file(str(file), file, *numbers, chosen)
        except UserError as refusal:
            refusals.append(refusal)
            continue
        where = file.relative_to(path).as_posix()
        names = [", ".join(filter(None, (where, log.run))) for log in found]
        logs += [replace(log, run=name) for log, name in zip(found, names, strict=True)]
    return [replace(log, source=str(path)) for log in _with_refusals(logs, refusals)]


def _logs_of_file(
    source: str, file: Path, steps_per_epoch: int | None, batch_size: int | None, chosen: Chosen
) -> list[Log]:
    content = _read_bytes(file)
    if is_event_file(content):
        tables = read_events(source, [file], file.parent, chosen)
    else:
        text = _decode(source, content)
        if text.lstrip()[:1] in ("{", "["):
            if OWN_ROW.search(text[:OWN_WITHIN]):
                own = run_log(file)
                return [told(own, steps_per_epoch, batch_size)]
            tables = read_json(source, text, chosen)
        elif DLLOGGER + "{" in text or MLPERF + "{" in text:
            tables = read_prefixed(source, text, chosen)
        elif (family := family_of(text)) is not None:
            tables = read_text(source, text, family, chosen)
        else:
            tables = read_csv(source, text, chosen)
    return _logs_of_tables(source, tables, steps_per_epoch, batch_size)


def _logs_of_tables(
    source: str, tables: Sequence[Table], steps_per_epoch: int | None, batch_size: int | None
) -> list[Log]:
    logs: list[Log] = []
    refusals: list[UserError] = []
    for table in tables:
        try:
            logs += logs_of(source, table, steps_per_epoch, batch_size)
        except UserError as refusal:
            refusals.append(refusal)
    return _with_refusals(logs, refusals)


def _with_refusals(logs: Sequence[Log], refusals: Sequence[UserError]) -> list[Log]:
    """The logs, of which the first names what was left out; raises if nothing else is there."""
    if not logs:
        raise refusals[0]
    if not refusals:
        return list(logs)
    left_out = " ".join(f"Left out: {refusal}." for refusal in refusals[:MOST_NAMED])
    if len(refusals) > MOST_NAMED:
        left_out += f" So were {len(refusals) - MOST_NAMED} more."
    return [replace(logs[0], note=f"{logs[0].note} {left_out}".strip()), *logs[1:]]


def _read_bytes(file: Path, first: int | None = None) -> bytes:
    """The content of a file, or its first bytes."""
    try:
        content = read_regular(file, LARGEST_LOG)[:first]
    except (OSError, ValueError) as problem:
        why = "there is no such file" if isinstance(problem, FileNotFoundError) else problem
        raise UserError(
            f"{file}: cannot be read ({why}); give a run folder or a file of losses"
        ) from None
    if not content.strip():
        raise UserError(f"{file}: is empty; give the log of a run that has made some steps")
    return content


def _decode(source: str, content: bytes) -> str:
    """Decodes UTF-8 text; letters of other encodings matter only in names and are replaced."""
    if content.startswith(UTF_16):
        raise UserError(f"{source}: is UTF-16; save it as UTF-8 text")
    if b"\0" in content:
        raise UserError(f"{source}: is binary, not text; {COLUMNS_THAT_DO}")
    return content.decode("utf-8-sig", errors="replace")
