"""Reads what trainers print: one regular expression for each family of logs.

The loss, the epoch, the iteration and the iterations of an epoch are its named groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ssd.common.errors import UserError
from ssd.spikes.formats.table import Chosen, Table, numbers_of

LONGEST_LINE = 1000  # characters; what follows is not read
SEEN = 2**18  # characters in which a family is looked for, at the start, middle and end
FEWEST_LINES = 2
NUM = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+|inf|nan|NaN)"


@dataclass(frozen=True)
class Family:
    """The lines of one family of logs.

    Attributes:
        name: who writes them.
        line: the expression; groups `loss`, `iter`, and `epoch` and `of` where it has them.
        base: the number of the first iteration.
        window: as in `Table`.
    """

    name: str
    line: re.Pattern[str]
    base: int
    window: int | str | None


def _family(name: str, line: str, base: int, window: int | str | None) -> Family:
    expression = line.replace("NUM", NUM).replace("INT", r"\d{1,12}")
    return Family(name, re.compile(expression), base, window)


FAMILIES = (
    # The number before the parentheses is a median of 20 steps, in which a single one is not
    # seen; the one in them is the mean since the epoch began.
    _family(
        "torchvision",
        r"^Epoch: \[(?P<epoch>INT)\]\s+\[\s*(?P<iter>INT)/(?P<of>INT)\]\s+eta:"
        r".*? loss: NUM \((?P<loss>NUM)\)",
        0,
        "running",
    ),
    _family(
        "PyTorch's ImageNet example",
        r"^Epoch: \[(?P<epoch>INT)\]\[\s*(?P<iter>INT)/(?P<of>INT)\].*?\sLoss (?P<loss>NUM) \(",
        1,
        1,
    ),
    _family(
        "YOLOX",
        r"epoch: (?P<epoch>INT)/INT, iter: (?P<iter>INT)/(?P<of>INT),"
        r".*? total_loss: (?P<loss>NUM)",
        1,
        1,
    ),
    _family(
        "mmdetection",
        r"Epoch(?:\(train\))?\s+\[(?P<epoch>INT)\]\[\s*(?P<iter>INT)/(?P<of>INT)\]"
        r".*? loss: (?P<loss>NUM)",
        1,
        None,
    ),
    _family(
        "pytorch-ssd",
        r"Epoch: (?P<epoch>INT), Step: (?P<iter>INT), Average Loss: (?P<loss>NUM)",
        0,
        "stride",
    ),
    _family("ssd.pytorch", r"iter (?P<iter>INT) \|\| Loss: (?P<loss>NUM) \|\|", 0, 1),
    _family("darknet", r"^\s*(?P<iter>INT): (?P<loss>NUM), NUM avg loss,", 1, 1),
    _family("Caffe", r"Iteration (?P<iter>INT)(?: \([^)]*\))?, loss = (?P<loss>NUM)", 0, None),
    _family("nanoGPT", r"^iter (?P<iter>INT): loss (?P<loss>NUM), time", 0, 1),
)


def family_of(text: str) -> Family | None:
    """The family of a log, from its start, middle and end; None if it is of none."""
    middle = max(0, len(text) // 2 - SEEN // 2)
    parts = (text[:SEEN], text[middle : middle + SEEN], text[-SEEN:])
    lines = [line[:LONGEST_LINE] for part in parts for line in part.splitlines()]
    counts = [sum(1 for line in lines if family.line.search(line)) for family in FAMILIES]
    most = max(counts)
    return FAMILIES[counts.index(most)] if most >= FEWEST_LINES else None


def read_text(source: str, text: str, family: Family, chosen: Chosen) -> list[Table]:
    """The log in the lines of a family; other lines are left out.

    Raises:
        UserError: columns are chosen, which such lines do not have.
    """
    if chosen != Chosen():
        raise UserError(
            f"{source}: is a text log of {family.name}, which has no columns to choose: leave "
            "--loss-column, --step-column and --epoch-column out"
        )
    search = family.line.search
    found = [match for line in text.splitlines() if (match := search(line[:LONGEST_LINE]))]
    names = family.line.groupindex
    columns = {
        ("step" if name == "iter" else name): numbers_of([match[name] for match in found])
        for name in names
    }
    present = np.ones(len(found), np.bool_)
    return [Table(columns, present, base=family.base, window=family.window)]
