"""The lists of a COCO file, whose entries are decoded a few at a time.

A file of COCO's train2017 holds 860,000 outlines that nobody needs. Decoded as a whole it would
take seven times its size in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ssd.common.errors import UserError
from ssd.common.untrusted import read_json, read_regular
from ssd.data.findings import Findings

AT_ONCE = 10_000  # entries

Entry = TypeVar("Entry", bound=msgspec.Struct)
Mend = Callable[[Any, set[str]], Entry | None]
Take = Callable[[Entry, int, set[str]], None]
Lose = Callable[[msgspec.Raw, str], None]


class Lists(msgspec.Struct):
    """An annotation file whose entries are not decoded yet."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


def read_lists(path: Path) -> Lists:
    """Reads an annotation file.

    Raises:
        UserError: it cannot be read, or is not an annotation file.
    """
    try:
        return msgspec.json.decode(read_regular(path), type=Lists)
    except (OSError, ValueError, RecursionError):
        return _read_unusual(path)


def _read_unusual(path: Path) -> Lists:
    """Reads a file by Python's own reader, which takes UTF-16 and NaN, and tells what is wrong."""
    content = read_json(path)
    for key in Lists.__struct_fields__:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(
                f"{path}: is not a COCO annotation file, which is an object with the lists "
                f"images, annotations and categories; {key} is missing: choose another file, or "
                "set data.format"
            )
    try:
        return msgspec.convert(
            {
                key: [msgspec.Raw(json.dumps(entry).encode()) for entry in content[key]]
                for key in Lists.__struct_fields__
            },
            Lists,
        )
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply") from None


class EntryReader:
    """Reads the entries of one file, and counts those that are mended.

    Attributes:
        repairs: how many entries were mended, by the kind of the fault.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        self.path, self.findings = path, findings
        self.repairs: Counter[str] = Counter()
        self._firsts: dict[str, str] = {}

    def read(
        self,
        what: str,
        entries: list[msgspec.Raw],
        kind: type[Entry],
        mend: Mend[Entry],
        take: Take[Entry],
        lose: Lose | None = None,
    ) -> None:
        """Reads one list.

        Args:
            what: its entries are.
            entries: as the file has them.
            kind: the type of a sound entry.
            mend: makes a sound entry of another one, and adds the kinds of its faults to a set;
                returns None to leave it out; raises a ValueError if it makes no sense.
            take: receives every sound entry, its number from 1, and that set; may raise, too.
            lose: receives every entry that makes no sense, and a line about it; if None, it is
                broken.
        """
        for start in range(0, len(entries), AT_ONCE):
            some = entries[start : start + AT_ONCE]
            sound = _decoded(some, kind)
            for place, raw in enumerate(some):
                number, faults = start + place + 1, set[str]()
                try:
                    entry = sound[place] if sound else mend(json.loads(bytes(raw)), faults)
                    if entry is not None:
                        take(entry, number, faults)
                except ValueError as problem:
                    told = f"{self.path}: {what} {_called(raw, number)}: {problem}"
                    if lose is None:
                        self.findings.broken(f"broken {what}", told)
                    else:
                        lose(raw, told)
                    continue
                for fault in faults:
                    if fault not in self.repairs:
                        self._firsts[fault] = f"{what} {_called(raw, number)}"
                    self.repairs[fault] += 1

    def count(self, fault: str, times: int, first: str) -> None:
        """Counts entries that were mended, of which `first` is the first."""
        self._firsts[fault] = first
        self.repairs[fault] += times

    def tell(self) -> None:
        """Tells the findings about every kind of fault once."""
        for fault, times in self.repairs.items():
            others = f" and {times - 1} more" if times > 1 else ""
            self.findings.repaired(fault, f"{self.path}: {self._firsts[fault]}{others}: {fault}")


def _decoded(entries: list[msgspec.Raw], kind: type[Entry]) -> list[Entry] | None:
    """The entries, or None if one of them is not of this kind."""
    whole: Any = list[kind]  # type: ignore[valid-type]
    try:
        decoded: list[Entry] = msgspec.json.decode(b"[" + b",".join(entries) + b"]", type=whole)
        return decoded
    except (ValueError, RecursionError):
        return None


def _called(raw: msgspec.Raw, number: int) -> str:
    """An entry by its id, or else its number."""
    try:
        own = json.loads(bytes(raw)).get("id")
    except (ValueError, AttributeError):
        own = None
    return f"id {own}" if type(own) is int and abs(own) < 2**63 else f"number {number}"
