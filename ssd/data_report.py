"""Where training stands before it starts: a data set's objects, and what is wrong with it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssd.config import Config
from ssd.data.check import check_data_set
from ssd.data.findings import Collect, Finding
from ssd.data.source import load_data
from ssd.data.statistics import (
    LARGE,
    SIZES,
    SMALL,
    Counts,
    Objects,
    best_overlaps,
    collect_objects,
    per_class,
    quantiles,
)
from ssd.files import write_whole
from ssd.geometry.boxes import to_corner_form
from ssd.model.ssd import build_model
from ssd.report.data_figure import write_data_figure
from ssd.structures import BoolArray, DataSet, FloatArray
from ssd.text_table import text_table

FINE, HURTS_TRAINING = 0, 1
SHOWN = 5
SHOWN_CLASSES = 90
SIZE_LIMITS = (f"under {SMALL:g} px", f"{SMALL:g} to {LARGE:g} px", f"from {LARGE:g} px")


@dataclass(frozen=True)
class Report:
    """What is known of a data set.

    Attributes:
        config: which data, and for which model.
        train, evaluation: the splits.
        objects, evaluated: their objects.
        default_boxes: [P, 4] of the model, centre form, relative to the image.
        unmatched: [N] which training objects no default box overlaps enough.
        findings: what is wrong or odd.
    """

    config: Config
    train: DataSet
    evaluation: DataSet
    objects: Objects
    evaluated: Objects
    default_boxes: FloatArray
    unmatched: BoolArray
    findings: list[Finding]


def check_data(config: Config, out: Path) -> int:
    """Checks the data of a config, prints a report, and writes it to the folder `out`.

    Returns:
        The exit status: 1 where something would hurt training, else 0.

    Raises:
        UserError: there is no such data.
    """
    report = examine(config)
    print(describe(report, out))
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "data_check.json", json.dumps(to_json(report), indent=2) + "\n")
    write_figure(report, out / "data_check.png")
    return HURTS_TRAINING if any(one.is_broken for one in report.findings) else FINE


def examine(config: Config) -> Report:
    """Reads everything."""
    collected = Collect()
    train = load_data(config.data, config.data.train_split, config.data.classes, collected)
    evaluation = load_data(config.data, config.data.eval_split, train.classes, collected)
    size, threads = config.model.input_size, max(1, config.data.workers)
    check_data_set(train, evaluation, config.data.classes, size, threads, collected)
    default_boxes = build_model(config.model, len(train.classes) + 1).default_boxes
    objects = collect_objects(train, size)
    overlap = best_overlaps(objects.boxes, to_corner_form(default_boxes))
    return Report(
        config,
        train,
        evaluation,
        objects,
        collect_objects(evaluation, size),
        default_boxes.numpy(),
        overlap < config.loss.match_iou,
        list(dict.fromkeys(collected.findings)),  # what both splits share is told once
    )


def describe(report: Report, out: Path) -> str:
    """The report for a terminal."""
    broken = [finding for finding in report.findings if finding.is_broken]
    odd = [finding for finding in report.findings if not finding.is_broken]
    verdict = (
        f"{len(broken)} {'thing' if len(broken) == 1 else 'things'} would hurt training: mend first"
        if broken
        else "nothing here would hurt training"
    )
    where = f"all of it: {out / 'data_check.json'}; to look at: {out / 'data_check.png'}"
    parts = [
        headline(report),
        class_table(report),
        size_table(report),
        *finding_lines("to be mended", broken),
        *finding_lines("worth a look", odd),
        f"{verdict}\n{where}",
    ]
    return "\n\n".join(parts)


def headline(report: Report) -> str:
    """How many images and objects each split has."""
    data = report.config.data
    splits = (
        ("to train on", data.train_split, report.train),
        ("to evaluate on", data.eval_split, report.evaluation),
    )
    lines = []
    for purpose, names, split in splits:
        changed = ", ".join(f"{count:,} {name}" for name, count in split.counts.items() if count)
        called = names if isinstance(names, str) else ", ".join(names)
        lines.append(f"{called}: {len(split.records):,} images {purpose} ({changed or 'empty'})")
    return f"{data.root}\n" + "\n".join(lines)


def class_table(report: Report) -> str:
    """Objects and images of every class, and how many no default box overlaps enough."""
    rows = class_rows(report)
    shown = sorted(rows, key=lambda row: -row["objects"])[:SHOWN_CLASSES]
    header = ("class", "objects", "images", "to evaluate", "unmatched")
    cells = [
        (
            row["class"],
            f"{row['objects']:,}",
            f"{row['images']:,}",
            f"{row['evaluated']:,}",
            share(row["unmatched"], row["objects"]),
        )
        for row in shown
    ]
    more = [f"… and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
    return "\n".join([text_table(header, cells), *more])


def class_rows(report: Report) -> list[dict[str, Any]]:
    """Of every class its name and its figures."""
    number = len(report.train.classes)
    objects, images = per_class(report.objects, number)
    evaluated, _ = per_class(report.evaluated, number)
    unmatched = np.bincount(report.objects.labels[report.unmatched], minlength=number + 1)[1:]
    figures = (objects, images, evaluated, unmatched)
    names = ("objects", "images", "evaluated", "unmatched")
    return [
        {"class": name} | dict(zip(names, values, strict=True))
        for name, *values in zip(
            report.train.classes, *(figure.tolist() for figure in figures), strict=True
        )
    ]


def by_size(report: Report) -> tuple[Counts, Counts]:
    """Objects, and unmatched objects, of each size class."""
    size_class = report.objects.size_class
    objects = np.bincount(size_class, minlength=len(SIZES))
    return objects, np.bincount(size_class[report.unmatched], minlength=len(SIZES))


def size_table(report: Report) -> str:
    """How large the objects are at the model's input, and of which shape."""
    objects, unmatched = (counts.tolist() for counts in by_size(report))
    total = max(1, sum(objects))
    rows = [
        (limits, f"{count:,}", f"{100 * count / total:.1f} %", share(missed, count))
        for limits, count, missed in zip(SIZE_LIMITS, objects, unmatched, strict=True)
    ]
    header = ("size", "objects", "share", "unmatched")
    ratios = quantiles(report.objects.ratios)
    shapes = ", ".join(f"{value:.2f} ({name})" for name, value in ratios.items())
    model, loss = report.config.model, report.config.loss
    return (
        f"{text_table(header, rows)}\n\n"
        f"sizes: root of the area at {model.input_size}x{model.input_size}; "
        f"width over height: {shapes or 'none'}\n"
        f"unmatched: no default box of {model.backbone} overlaps it by {loss.match_iou:g}; "
        "each of them gets one box, and trains less than others"
    )


def finding_lines(title: str, findings: Sequence[Finding]) -> list[str]:
    """The findings by kind, the first few of each; nothing where there are none."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding.message)
    lines = []
    for kind, messages in sorted(kinds.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {kind} ({len(messages)})")
        lines += [f"    {message}" for message in messages[:SHOWN]]
        if len(messages) > SHOWN:
            lines.append(f"    … and {len(messages) - SHOWN} more")
    return ["\n".join([title, *lines])] if lines else []


def to_json(report: Report) -> dict[str, Any]:
    """Everything, for programs."""
    objects, unmatched = (counts.tolist() for counts in by_size(report))
    return {
        "train": {"images": len(report.train.records)} | report.train.counts,
        "evaluation": {"images": len(report.evaluation.records)} | report.evaluation.counts,
        "classes": class_rows(report),
        "sizes": {
            name: {"objects": count, "unmatched": missed}
            for name, count, missed in zip(SIZES, objects, unmatched, strict=True)
        },
        "size_quantiles": quantiles(report.objects.sizes),
        "ratio_quantiles": quantiles(report.objects.ratios),
        "findings": [asdict(finding) for finding in report.findings],
    }


def write_figure(report: Report, path: Path) -> None:
    """The picture: classes, shapes of objects beside those of default boxes, unmatched by size."""
    shapes = np.unique(report.default_boxes[:, 2:].round(4), axis=0)
    shapes *= report.config.model.input_size
    objects, unmatched = by_size(report)
    rows = class_rows(report)
    write_data_figure(
        path,
        {row["class"]: row["objects"] for row in rows},
        (report.objects.sizes, report.objects.ratios),
        (np.sqrt(shapes.prod(1)), shapes[:, 0] / shapes[:, 1]),
        dict(zip(SIZE_LIMITS, zip(objects.tolist(), unmatched.tolist(), strict=True), strict=True)),
    )


def share(part: int, whole: int) -> str:
    """`3 of 12 (25 %)`, or a dash."""
    return f"{part:,} ({100 * part / whole:.0f} %)" if whole else "–"
