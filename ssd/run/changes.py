"""changes.jsonl: the settings that a resumed run has changed, each with the step it holds from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssd.common.files import write_whole
from ssd.run.names import CHANGES

LONGEST_SHOWN = 80


@dataclass(frozen=True)
class Change:
    """A setting that a resumed run has changed.

    Attributes:
        step: the first step with the new value.
        setting: its name, as `section.key`.
        old: its value before: a plain value or a list of them, as in YAML.
        new: its value from that step on.
        date: of the resume, as ISO 8601 to the second.
    """

    step: int
    setting: str
    old: Any
    new: Any
    date: str

    def __str__(self) -> str:
        """The change in one line, without its step."""
        return f"{self.setting} {value_text(self.old)} -> {value_text(self.new)}"


def value_text(value: Any) -> str:
    """The value of a setting on one line, as in YAML, shortened if it is long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"


def changes(run_dir: Path) -> list[Change]:
    """The changes of a run in the order of their steps; none if there is no file.

    Lines that are no changes are left out.
    """
    path = run_dir / CHANGES
    found = map(_parse, path.read_bytes().splitlines() if path.is_file() else ())
    return [change for change in found if change is not None]


def write_changes(run_dir: Path, all_changes: Sequence[Change]) -> None:
    """Writes all changes of a run, whole or not at all; a run without any has no file."""
    lines = [json.dumps(asdict(change), default=str, ensure_ascii=False) for change in all_changes]
    if lines:
        write_whole(run_dir / CHANGES, "\n".join(lines) + "\n")
    else:
        (run_dir / CHANGES).unlink(missing_ok=True)


def _parse(line: bytes) -> Change | None:
    try:
        change = Change(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None
    sound = type(change.step) is int and all(
        isinstance(text, str) for text in (change.setting, change.date)
    )
    return change if sound else None
