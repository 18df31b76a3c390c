"""The figures of judged detections: at one score, by size of the object, and by score.

Letters: `C` classes without the background, `D` detections, `N` objects, `S` ranges of scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssd.evaluation.mistakes import RIGHT, UNCOUNTED, WRONG_CLASS, Floats, Ints, JudgedDetections

NO_SCORE = 0.5  # where no detection is right at any score
RANGES = 10


@dataclass(frozen=True)
class AtScore:
    """A score, and how the detections of at least this score do.

    Attributes:
        score: one for all classes.
        precision: the share of right ones among the detections that count; NaN without any.
        recall: the share of found ones among the objects that count; NaN without any.
        f1: the harmonic mean of both; 0 if nothing is right.
    """

    score: float
    precision: float
    recall: float
    f1: float


def best_f1(judged: JudgedDetections) -> AtScore:
    """The score with the best F1 over the detections of all classes; the highest of equals.

    It is `NO_SCORE` where no detection is right.
    """
    counts_D = judged.kinds != UNCOUNTED
    order = np.argsort(-judged.table.scores[counts_D], kind="stable")
    scores_D = judged.table.scores[counts_D][order]
    right_D = np.cumsum(judged.kinds[counts_D][order] == RIGHT)
    objects = int(judged.objects.counted.sum())
    if not right_D[-1:].any():
        precision = 0.0 if (scores_D >= NO_SCORE).any() else np.nan
        return AtScore(NO_SCORE, precision, 0.0 if objects else np.nan, 0.0)
    taken_D = np.arange(1, len(scores_D) + 1)
    f1_D = 2 * right_D / (taken_D + objects)
    ends_tie_D = np.append(np.diff(scores_D) != 0, True)
    best = int(np.argmax(np.where(ends_tie_D, f1_D, -1.0)))
    right = float(right_D[best])
    return AtScore(float(scores_D[best]), right / (best + 1), right / objects, float(f1_D[best]))


def count_kinds(judged: JudgedDetections, score: float, num_classes: int) -> Ints:
    """Detections of at least this score [C, kinds], kinds in the order of `KIND_NAMES`."""
    kept_D = judged.table.scores >= score
    table = np.zeros((num_classes + 1, UNCOUNTED + 1), np.int64)
    np.add.at(table, (judged.table.labels[kept_D], judged.kinds[kept_D]), 1)
    return table[1:]


def count_missed(judged: JudgedDetections, score: float, num_classes: int) -> Ints:
    """The objects [C] of each class that count and that no such detection finds."""
    labels = judged.objects.labels[judged.missed(score)]
    return np.bincount(labels, minlength=num_classes + 1)[1:]


def confusion(judged: JudgedDetections, score: float, num_classes: int) -> Ints:
    """The confusion matrix [C + 1, C + 1] of the detections of at least this score.

    Rows are the classes of the objects, columns those of the detections. Every object that counts
    is in one cell: of its own class if it is found; else of the class of the most confident
    detection of the wrong class on it; else in the last column. The last row has the detections
    that are on no object of their own: background, poor boxes, and further ones on an object. So
    a row adds up to the objects of its class, and a column to the detections of its class.
    """
    labels_D, objects = judged.table.labels, judged.objects
    kept_D = (judged.table.scores >= score) & (judged.kinds != UNCOUNTED)
    right_D = kept_D & (judged.kinds == RIGHT)
    seen_as_N = np.zeros(len(objects.labels), np.int64)  # 0: as nothing
    seen_as_N[judged.object_of[right_D]] = labels_D[right_D]
    wrong = np.flatnonzero(kept_D & (judged.kinds == WRONG_CLASS))
    wrong = wrong[seen_as_N[judged.object_of[wrong]] == 0]
    wrong = wrong[np.argsort(-judged.table.scores[wrong], kind="stable")]
    mistaken, rows = np.unique(judged.object_of[wrong], return_index=True)
    seen_as_N[mistaken] = labels_D[wrong[rows]]
    left_D = kept_D & ~right_D
    left_D[wrong[rows]] = False

    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    counted_N = objects.counted
    np.add.at(matrix, (objects.labels[counted_N] - 1, seen_as_N[counted_N] - 1), 1)
    np.add.at(matrix[num_classes], labels_D[left_D] - 1, 1)
    return matrix


def calibration(judged: JudgedDetections) -> tuple[Floats, Floats, Ints]:
    """Mean score, precision and number [S] of the detections in `RANGES` ranges of the score.

    The ranges have equal widths and cover 0 … 1; a range without detections has NaN. All three
    are empty where a score is outside of 0 … 1, since such scores are no probabilities.
    """
    counts_D = judged.kinds != UNCOUNTED
    scores_D, right_D = judged.table.scores[counts_D], judged.kinds[counts_D] == RIGHT
    if ((scores_D < 0) | (scores_D > 1)).any():
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    range_D = np.minimum((scores_D * RANGES).astype(np.int64), RANGES - 1)
    count_S = np.bincount(range_D, minlength=RANGES)
    divisor_S = np.where(count_S > 0, count_S, np.nan)
    mean_S = np.bincount(range_D, scores_D, RANGES) / divisor_S
    return mean_S, np.bincount(range_D, right_D, RANGES) / divisor_S, count_S
