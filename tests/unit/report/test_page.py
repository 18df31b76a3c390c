import base64
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.evaluation.at_score import best_f1
from ssd.evaluation.by_size import results_by_size
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.mistakes import judge_detections
from ssd.report.analysis import Analysis, Example
from ssd.report.page import write_report
from ssd.report.pictures import Box, Picture
from ssd.report.score_plots import Curve
from ssd.run.changes import Change, write_changes
from ssd.structures import Record

HOSTILE = '<b>&"'
PICTURE = Picture(
    f"000001{HOSTILE}",
    np.full((60, 80, 3), 128, np.uint8),
    [Box(HOSTILE, 1, (10, 10, 40, 40), 0.75)],
    [Box("dog", 2, (12, 12, 44, 38))],
)
CURVES = {
    HOSTILE: Curve(np.linspace(0, 1, 9), np.linspace(1, 0.5, 9), 0.8125),
    "dog": Curve(np.full(3, np.nan), np.zeros(3), math.nan),
}
CLASSES = (HOSTILE, "cat", "dog")
OBJECTS = {(0, 0, 20, 20): 1, (40, 0, 80, 40): 1, (0, 40, 100, 140): 2, (200, 0, 240, 40): 2}
FOUND = [  # label, score, box
    (1, 0.9, (0, 0, 20, 20)),  # right
    (1, 0.8, (0, 0, 20, 18)),  # duplicate
    (2, 0.7, (0, 40, 100, 140)),  # right
    (1, 0.6, (200, 0, 240, 40)),  # wrong class
    (1, 0.5, (40, 0, 80, 10)),  # poor box
    (2, 0.4, (300, 300, 310, 310)),  # background, below the chosen score
]


def analysis():
    boxes, labels = np.array([*OBJECTS], np.float32), np.array([*OBJECTS.values()])
    no = np.zeros(len(labels), np.bool_)
    record = Record("a", Path("a.jpg"), 400, 400, boxes, labels, no, no)
    found, scores, corners = (np.array(each) for each in zip(*FOUND, strict=True))
    table = DetectionTable(np.zeros(len(found), np.int64), found, scores, corners.astype(float))
    judged = judge_detections([record], table)
    at = replace(best_f1(judged), score=0.5)
    sizes = results_by_size(judged, at.score, "voc07", None)
    example = Example(PICTURE, f"background: {HOSTILE} 0.60", "on no object of its class")
    missed = Example(PICTURE, "cat", "25.0 % of the image")
    return Analysis(
        CLASSES, judged, at, 0.5, sizes, CURVES, [PICTURE], mistakes=[example], misses=[missed]
    )


def train_row(step):
    return {
        "kind": "train",
        "step": step,
        "epoch": (step - 1) // 5,
        "loss": 2.5 if step != 7 else math.nan,
        "class_loss_sum": 70.0,
        "box_loss_sum": 30.0,
        "num_positives": 40,
        "num_images": 8,
        "lr": 1e-3,
        "grad_norm": math.inf if step == 7 else 2.0,
        "images_per_second": 0.1,
    }


def fill(run_dir):
    rows = [train_row(step) for step in range(1, 101)]
    rows += [{"kind": "eval", "step": 100, "epoch": 19, "mAP": 0.625}]
    (run_dir / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"kind": "tr')
    evaluation = {
        "metric": "voc07",
        "mAP": 0.625,
        "per_class": {"dog": None, "cat": 0.4375, HOSTILE: 0.8125},
        "num_images": 1234,
        "num_detections": 56789,
        "num_ground_truth": {"dog": 0, "cat": 31, HOSTILE: 17},
    }
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation))
    (run_dir / "config.yaml").write_text(f"data:\n  root: /data/{HOSTILE}\n")
    (run_dir / "environment.json").write_text(json.dumps({"torch": "2.11", "gpus": [HOSTILE]}))


@pytest.fixture
def run_dir(tmp_path):
    fill(tmp_path)
    return tmp_path


def page_of(run_dir, *parts):
    return write_report(run_dir, *parts).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def full_page(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    fill(run_dir)
    write_changes(run_dir, [Change(41, "optimizer.lr", 0.1, HOSTILE, "2026-11-28T12:00:00+00:00")])
    return page_of(run_dir, "", analysis())


def visible_text(page):
    """The text between tags, without styles."""
    pieces = []
    parser = HTMLParser()
    parser.handle_data = pieces.append
    parser.feed(re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL))
    return " ".join(" ".join(pieces).split())


def test_the_page_needs_nothing_else(full_page):
    targets = re.findall(r"""(?:href|src|srcset|action|data)\s*=\s*["']([^"']*)""", full_page)
    assert [t for t in targets if not t.startswith(("#", "data:image/"))] == []
    assert re.findall(r"url\((?!#)|@import|<script|<link|<iframe|\son\w+=", full_page) == []


def test_the_headline_shows_the_figures(full_page):
    text = visible_text(full_page)
    for piece in (
        "mAP 62.5 % on 1\u202f234 images",
        "Steps 100 800 images",
        "Training time 2 h 13 min",
        "Speed 0.1 images per second in training",
    ):
        assert " ".join(piece.split()) in text


def test_the_classes_are_listed_best_first_with_their_mistakes(full_page):
    text = visible_text(full_page)
    assert f"{HOSTILE} 17 81.2 % 1 1 1 1 1 0 cat 31 43.8 % 1 1 0 0 0 0 dog 0 – 0 0 0 0 0 0" in text
    assert "all classes 4 62.5 % 2 2 1 1 1 0" in text
    assert "5 detections right 2 40.0 % duplicate 1 20.0 %" in text
    assert "4 objects found 2 50.0 % missed 2 50.0 %" in text


def test_the_confusion_matrix_names_its_rows_and_columns(full_page):
    text = visible_text(full_page)
    rows = f"{HOSTILE} cat dog missed {HOSTILE} 1 · · 1 cat 1 1 · · dog · · · · no object 2 · ·"
    assert f"annotated ↓ detected → {rows}" in text


def test_sizes_without_objects_are_left_out(full_page):
    text = visible_text(full_page)
    assert "small below 32² pixels 1 100.0 % 1 0 medium 32² to 96² pixels 2 0.0 % 0 2" in text
    assert "large from 96² pixels 1 100.0 % 1 0" in text


def test_every_figure_is_there(full_page):
    """In two widths each: scores, loss, optimisation, precision and recall, calibration."""
    assert full_page.count("<svg") == 10
    jpegs = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', full_page)
    assert len(jpegs) == 3
    assert all(base64.b64decode(jpeg).startswith(b"\xff\xd8\xff") for jpeg in jpegs)
    assert 'class="missing"' not in full_page


def test_settings_changed_on_the_way_are_listed(full_page, run_dir):
    listed = f"from step setting before since then 41 optimizer.lr 0.1 {HOSTILE}"
    assert listed in visible_text(full_page)
    assert "Changed on the way" not in page_of(run_dir)


def test_names_are_escaped(full_page):
    assert "<b>" not in full_page
    text = visible_text(full_page)
    for piece in (f"root: /data/{HOSTILE}", f"000001{HOSTILE}", f"{HOSTILE} · 81.2"):
        assert piece in text


@pytest.mark.parametrize(
    ("missing", "without"),
    [
        ("metrics.jsonl", ["Score during the training", "Loss", "Optimisation"]),
        ("evaluation.json", ["Classes"]),
    ],
)
def test_what_is_missing_leaves_no_empty_section(run_dir, missing, without):
    before = headings(page_of(run_dir))
    (run_dir / missing).unlink()
    assert headings(page_of(run_dir)) == [name for name in before if name not in without]
    assert set(without) <= set(before)


def headings(page):
    return re.findall("<h2>(.*?)</h2>", page)


def test_an_empty_folder(tmp_path):
    page = page_of(tmp_path)
    assert "<svg" not in page
    assert headings(page) == []
    assert "holds no results yet" in page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_an_evaluation_that_found_nothing(tmp_path):
    nothing = judge_detections([], DetectionTable(*np.zeros((3, 0), np.int64), np.zeros((0, 4))))
    sizes = results_by_size(nothing, 0.5, "voc07", None)
    assert (
        headings(page_of(tmp_path, "", Analysis((), nothing, best_f1(nothing), 0.5, sizes))) == []
    )


def test_numbers_that_are_none_become_dashes(run_dir):
    broken = '{"metric": "voc07", "mAP": NaN, "num_images": null, "per_class": {"cat": NaN}}'
    (run_dir / "metrics.jsonl").unlink()
    (run_dir / "evaluation.json").write_text(broken)
    text = visible_text(page_of(run_dir))
    assert "VOC 2007" in text
    assert "cat – –" in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("content", ["{", "[]", "7"])
@pytest.mark.parametrize("name", ["evaluation.json", "environment.json"])
def test_a_broken_file_is_told_in_one_line(run_dir, name, content):
    (run_dir / name).write_text(content)
    with pytest.raises(UserError, match=name) as told:
        write_report(run_dir)
    assert "\n" not in str(told.value)
    assert not (run_dir / "report.html").exists()


def test_the_report_needs_no_torch():
    code = "import sys, ssd.report.page; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_said_of_spikes_stands_below_the_loss(run_dir):
    said = f"The loss spikes every 10 steps {HOSTILE}."
    page = page_of(run_dir, said)
    assert "<b>" not in page
    assert f"{said} Optimisation" in visible_text(page)
    assert page_of(run_dir).count('class="note"') == page.count('class="note"') - 1


def test_cocos_figures_are_shown(tmp_path):
    names = [f"{kind}{size}" for kind in ("AP", "AR") for size in ("", "x", "y", "s", "m", "l")]
    figures = {name: (number + 0.5) / 100 for number, name in enumerate(names)}
    evaluation = {"metric": "coco", "mAP": 0.25, "per_class": {"cat": 0.25}, "coco": figures}
    evaluation["coco"]["APs"] = None
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    text = write_report(tmp_path).read_text()
    assert "COCO, mean over the overlaps (IoU) 0.50 to 0.95" in text
    for number, name in enumerate(names):
        assert f'<th class="number">{name}</th>' in text
        assert (
            f'<td class="number">{"–" if name == "APs" else f"{number + 0.5:.1f} %"}</td>' in text
        )
