"""Adapts class predictors to another class list: shared classes keep their rows.

Letters: `K` default boxes at one position, `C` our classes with the background, `F` the file's.
A class predictor's outputs are ordered default box → class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

# In a separable predictor only the last layer, number 3, has rows for classes.
CLASS_TENSOR = re.compile(r"head\.logits\.\d+\.(3\.)?(weight|bias)")

MOST_NAMES = 6


def has_classes(name: str) -> bool:
    """Returns whether this tensor of our state_dict has rows that belong to classes."""
    return CLASS_TENSOR.fullmatch(name) is not None


def shared_rows(
    classes: Sequence[str], file_classes: Sequence[str] | None, num_file_rows: int
) -> dict[int, int]:
    """The rows to keep: our row → the file's row. The background is row 0 in both.

    Args:
        classes: our class names, for the rows from 1 on.
        file_classes: the file's class names, `N/A` for unused rows; None if unknown. The file is
            then taken to have our classes in our order if it has as many rows as we do;
            otherwise only the background is kept.
        num_file_rows: F.
    """
    if file_classes is None:
        count = num_file_rows if num_file_rows == len(classes) + 1 else 1
        return {row: row for row in range(count)}
    rows = {name: row for row, name in enumerate(file_classes, 1) if name != "N/A"}
    return {0: 0} | {row: rows[name] for row, name in enumerate(classes, 1) if name in rows}


def take_rows(given: Tensor, fresh: Tensor, rows: dict[int, int], num_classes: int) -> Tensor:
    """The tensor [K·C, …] with the kept rows from `given` [K·F, …] and the others from `fresh`.

    Args:
        given: weights or biases of the file's class predictor.
        fresh: ours, with random weights; not modified.
        rows: our row → the file's row.
        num_classes: C.
    """
    num_boxes, rest = len(fresh) // num_classes, fresh.shape[1:]
    result_KC = fresh.clone().reshape(num_boxes, num_classes, *rest)
    given_KF = given.reshape(num_boxes, -1, *rest)
    result_KC[:, list(rows)] = given_KF[:, list(rows.values())].to(result_KC)
    return result_KC.reshape(fresh.shape)


def describe(classes: Sequence[str], rows: dict[int, int], *, by_name: bool) -> str:
    """One line that names the classes kept from the file and the fresh ones."""
    word = "classes kept" if by_name else "classes kept in the file's order"
    kept = [name for row, name in enumerate(classes, 1) if row in rows]
    fresh = [name for row, name in enumerate(classes, 1) if row not in rows]
    parts = [(word, kept), ("fresh" if kept else "all classes fresh", fresh)]
    return "; ".join(f"{word}: {some_of(names)}" for word, names in parts if names)


def some_of(names: Sequence[str]) -> str:
    """The first few names and the number of the others."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
