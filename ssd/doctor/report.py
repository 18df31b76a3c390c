"""Reports the findings and statistics of a data set, in words and as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ssd.common.files import write_whole
from ssd.common.sides import Size, in_words
from ssd.common.text_table import text_table
from ssd.common.words import counted
from ssd.config import DataConfig, EvaluationConfig, LossConfig, ModelConfig
from ssd.data.findings import Finding, repairs_line
from ssd.data.layout import locate
from ssd.doctor.check import Checked, check_data
from ssd.doctor.misfits import judge_boxes
from ssd.doctor.plots import data_figure
from ssd.doctor.statistics import (
    SIZE_BOUNDS,
    ClassRow,
    Objects,
    Statistics,
    describe,
    objects_of,
    unmatched,
)
from ssd.geometry.default_boxes import FeatureMap, box_shapes, default_boxes
from ssd.model.ssd import build_backbone, feature_maps
from ssd.report.plots import shorten
from ssd.run.folder import check_out
from ssd.run.names import DATA_CHECK

HURTS_TRAINING = 1
FINE = 0
SHOWN_FINDINGS = 5
SHOWN_CLASSES = 30
DETAILS, PICTURE = DATA_CHECK, "data_check.png"


def report_data(
    data: DataConfig,
    model: ModelConfig,
    loss: LossConfig,
    out: Path,
    evaluation_config: EvaluationConfig | None = None,
    *,
    suggests: bool = False,
) -> Checked:
    """Checks the data of a run, prints the report and writes the details and a picture to `out`.

    Args:
        data: the section of the config.
        model: the section of the config, whose input size and default boxes the data meets.
        loss: the section of the config, by which objects are matched.
        out: the folder; made if need be.
        evaluation_config: the section of the config, whose limits the data meets.
        suggests: print default boxes that fit more of the objects, if there are any.

    Returns:
        The data sets and the findings.

    Raises:
        UserError: `data.root` is not a folder, the model is impossible, or `out` is used.
    """
    check_out(out, "a check of data", data.root)
    data, found = locate(data)
    input_size = model.input_size
    maps = feature_maps(build_backbone(model), model)
    out.mkdir(parents=True, exist_ok=True)
    checked = check_data(data, input_size, evaluation_config)
    train = objects_of(checked.train.records, data.train_difficult)
    evaluation = objects_of(checked.evaluation.records, train_difficult=True)
    boxes = default_boxes(maps, input_size, clamp=model.clamp_boxes)
    unmatched_N = unmatched(train.boxes, boxes, loss.match_iou)
    statistics = describe(train, evaluation, checked.classes, unmatched_N, input_size)
    new, advice = judge_boxes(train.boxes, unmatched_N, maps, model, loss.match_iou, asked=suggests)
    checked = replace(checked, findings=[*checked.findings, *new])
    write_details(out / DETAILS, data, input_size, loss.match_iou, checked, statistics)
    write_picture(out / PICTURE, statistics, train, maps, input_size)
    lines = [
        *([found] if found else []),
        *headline(data, checked, statistics),
        *class_table(statistics.classes),
        *size_table(statistics, input_size, loss.match_iou),
        *advice,
        *finding_groups(checked.findings),
        f"details and a picture: {out / DETAILS}, {out / PICTURE}",
        verdict(checked.findings),
    ]
    print("\n".join(lines).encode("utf-8", "replace").decode())  # file names may be no Unicode
    return checked


def write_details(
    path: Path,
    data: DataConfig,
    input_size: Size,
    match_iou: float,
    checked: Checked,
    statistics: Statistics,
) -> None:
    """Everything that was found, as JSON."""
    details = {
        "data": asdict(data),
        "input_size": input_size,
        "match_iou": match_iou,
        "images": len(checked.train.records),
        "eval_images": len(checked.evaluation.records),
        "repairs": checked.repairs,
        "statistics": asdict(statistics),
        "findings": [asdict(finding) for finding in checked.findings],
    }
    write_whole(path, json.dumps(details, indent=1, ensure_ascii=False) + "\n")


def write_picture(
    path: Path,
    statistics: Statistics,
    train: Objects,
    maps: Sequence[FeatureMap],
    input_size: Size,
) -> None:
    """The statistics as one picture."""
    figure = data_figure(
        {row.name: row.objects for row in statistics.classes},
        train.sizes(input_size).astype(np.float64),
        train.aspect_ratios(input_size).astype(np.float64),
        [shape for feature_map in maps for shape in box_shapes(feature_map)],
        {row.name: (row.unmatched, row.objects) for row in statistics.sizes},
    )
    figure.savefig(path, dpi=150, facecolor="white")


def headline(data: DataConfig, checked: Checked, statistics: Statistics) -> Iterator[str]:
    """The data that was checked."""
    objects = sum(row.objects for row in statistics.classes)
    eval_objects = sum(row.eval_objects for row in statistics.classes)
    classes = len(statistics.classes)
    yield f"{data.root} ({data.format}), {classes:,} {'class' if classes == 1 else 'classes'}"
    for name, splits, records, count in (
        ("train", data.train_split, checked.train.records, objects),
        ("eval", data.eval_split, checked.evaluation.records, eval_objects),
    ):
        shown = splits if isinstance(splits, str) else ", ".join(splits or ["nothing"])
        images, shown_count = counted(len(records), "image"), counted(count, "object")
        yield f"{name:<6}{images:>16} {shown_count:>17}   {shown}"
    if checked.repairs:
        yield f"mended: {repairs_line(checked.repairs)}"


def class_table(rows: Sequence[ClassRow]) -> Iterator[str]:
    """The most frequent classes, with the training objects that no default box fits."""
    most = sorted(rows, key=lambda row: -row.objects)[:SHOWN_CLASSES]
    cells = [
        (
            shorten(row.name),
            f"{row.objects:,}",
            f"{row.images:,}",
            share(sum(size.unmatched for size in row.by_size), row.objects),
            f"{row.eval_objects:,}",
            f"{row.eval_images:,}",
        )
        for row in most
    ]
    yield ""
    yield text_table(
        ("class", "objects", "images", "unmatched", "eval objects", "eval images"), cells
    )
    if len(rows) > SHOWN_CLASSES:
        yield f"… and {len(rows) - SHOWN_CLASSES} more in {DETAILS}"


def size_table(statistics: Statistics, input_size: Size, match_iou: float) -> Iterator[str]:
    """Training objects by size, those that no default box fits, and the quantiles."""
    cells = [
        (
            f"{row.name} (from {SIZE_BOUNDS[row.name]:g})",
            f"{row.objects:,}",
            share(row.unmatched, row.objects),
        )
        for row in statistics.sizes
    ]
    yield ""
    yield text_table((f"size at {in_words(input_size)} pixels", "objects", "unmatched"), cells)
    best = "training gives it the best one nevertheless"
    yield f"unmatched: no default box overlaps the object by IoU {match_iou:g}; {best}"
    yield ""
    sizes, ratios = statistics.size_quantiles, statistics.aspect_ratio_quantiles
    yield text_table(
        ("quantiles", *(f"{percent} %" for percent in sizes)),
        [
            ("size", *(f"{value:.1f}" for value in sizes.values())),
            ("width / height", *(f"{value:.2f}" for value in ratios.values())),
        ],
    )


def share(part: int, whole: int) -> str:
    """`3 (25 %)`, or a dash where there is nothing."""
    return f"{part:,} ({100 * part / whole:.0f} %)" if whole else "–"


def finding_groups(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings by their kind, what is broken first; the first few of each."""
    groups: dict[tuple[bool, str], list[str]] = {}
    for finding in sorted(findings, key=lambda finding: not finding.is_broken):
        groups.setdefault((finding.is_broken, finding.kind), []).append(finding.message)
    for (is_broken, kind), messages in groups.items():
        yield ""
        yield f"{'BROKEN' if is_broken else 'odd'}  {kind}: {len(messages)}"
        yield from (f"  {' '.join(message.split())}" for message in messages[:SHOWN_FINDINGS])
        if len(messages) > SHOWN_FINDINGS:
            yield f"  … and {len(messages) - SHOWN_FINDINGS} more in {DETAILS}"
    yield ""


def verdict(findings: Sequence[Finding]) -> str:
    """The verdict in one line: can training start?"""
    broken = sum(finding.is_broken for finding in findings)
    odd = counted(len(findings) - broken, "finding")
    if broken:
        return f"{counted(broken, 'finding')} would hurt training; {odd} worth a look"
    return f"nothing would hurt training; {odd} worth a look"
