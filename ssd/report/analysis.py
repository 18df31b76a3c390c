"""The results of an evaluation as the report shows them, and its tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ssd.evaluation.at_score import AtScore, count_kinds, count_missed
from ssd.evaluation.mistakes import (
    BACKGROUND,
    DUPLICATE,
    KIND_NAMES,
    POOR_BOX,
    RIGHT,
    WRONG_CLASS,
    Ints,
    JudgedDetections,
)
from ssd.report.pictures import Picture
from ssd.report.score_plots import Curve

if TYPE_CHECKING:
    from ssd.evaluation.by_size import SizeResult

MISTAKES = (DUPLICATE, WRONG_CLASS, POOR_BOX, BACKGROUND)
MOST_CONFUSED = 15  # classes of the confusion matrix


@dataclass(frozen=True)
class Example:
    """A picture with what it is an example of, in a few words, and more about it."""

    picture: Picture
    text: str
    more: str


@dataclass(frozen=True)
class Analysis:
    """What an evaluation adds to the report.

    Attributes:
        classes: names, from label 1 on.
        judged: the detections with their kinds, and the objects.
        at: the chosen score; tables and pictures show the detections of at least this score.
        right_iou: the overlap from which a box is right.
        sizes: the results by size of the objects.
        curves: precision and recall of each class, by name.
        pictures: evaluated images with predictions and ground truth.
        mistakes: the most confident detections that are mistakes.
        misses: the largest objects that no detection finds.
    """

    classes: Sequence[str]
    judged: JudgedDetections
    at: AtScore
    right_iou: float
    sizes: Mapping[str, SizeResult]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    mistakes: Sequence[Example] = ()
    misses: Sequence[Example] = ()


def class_counts(analysis: Analysis) -> dict[str, dict[str, int]]:
    """For each class, by name: the detections of each kind, and the objects missed."""
    score, number = analysis.at.score, len(analysis.classes)
    kinds = count_kinds(analysis.judged, score, number)
    missed = count_missed(analysis.judged, score, number)
    return {
        name: {**dict(zip(KIND_NAMES, row.tolist(), strict=True)), "missed": int(lost)}
        for name, row, lost in zip(analysis.classes, kinds, missed, strict=True)
    }


def totals(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """The sums of `class_counts` over the classes."""
    rows = list(counts.values())
    return {key: sum(row[key] for row in rows) for key in (rows[0] if rows else ())}


def shares(total: Mapping[str, int], keys: Sequence[str]) -> list[tuple[str, int, float]]:
    """Some of the totals as (name, count, share of their sum), for a stacked bar."""
    whole = sum(total[key] for key in keys)
    return [(key, total[key], total[key] / whole) for key in keys] if whole else []


def bars(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """The two stacked bars of the totals: that of the detections and that of the objects."""
    total = totals(counts)
    if not total:
        return []
    detections = shares(total, [KIND_NAMES[kind] for kind in (RIGHT, *MISTAKES)])
    objects = shares({"found": total[KIND_NAMES[RIGHT]], **total}, ["found", "missed"])
    named = [("detections", detections), ("objects", objects)]
    return [(name, parts) for name, parts in named if parts]


def confusion_rows(matrix: Ints, classes: Sequence[str]) -> dict[str, Any]:
    """The confusion matrix [C + 1, C + 1] for the page.

    Of more than `MOST_CONFUSED` classes, these are the ones most often confused with another.

    Returns:
        `columns`, the names of the classes shown, and `rows` of (name, cells); a cell is (count,
        share of the row's whole, whether it is right).
    """
    between = matrix[:-1, :-1] - np.diag(np.diag(matrix)[:-1])
    confused = between.sum(0) + between.sum(1)
    chosen = np.sort(np.argsort(-confused, kind="stable")[:MOST_CONFUSED])
    places = [*chosen.tolist(), len(classes)]
    rows = []
    for row in places:
        whole = max(1, int(matrix[row].sum()))
        cells = [
            (int(matrix[row, column]), float(matrix[row, column] / whole), row == column)
            for column in places
        ]
        rows.append((classes[row] if row < len(classes) else "", cells))
    return {"columns": [classes[place] for place in chosen], "rows": rows}
