"""The files that an evaluation leaves; tests/runs has whole evaluations."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ssd.config import Config, EvaluationConfig
from ssd.detect.evaluate import publish, spikes_of_run
from ssd.evaluation.detections import DetectionTable
from ssd.evaluation.result import EvaluationResult
from ssd.run.results import origin_of
from ssd.run.rows import format_row
from ssd.spikes.explained import explain_run
from ssd.steps import EvaluationRow
from ssd.structures import DataSet

NOTHING = DetectionTable(
    np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4))
)
RESULT = EvaluationResult(
    mAP=math.nan,
    per_class={"cat": math.nan},
    curves={"cat": (np.zeros(0), np.zeros(0), np.zeros(0))},
    num_ground_truth={"cat": 0},
    detections_per_class={"cat": 0},
    num_images=0,
    num_detections=0,
)
ORIGIN = origin_of(Config(), Path("checkpoints/step_1"), 1)


@pytest.fixture
def published(tmp_path, step_row):
    """The report of a run whose loss is so many times as high in each tenth step, and its text."""

    def publish_run(height):
        rows = [
            step_row(
                step=step + 1,
                epoch=step // 10,
                step_in_epoch=step % 10,
                steps_per_epoch=10,
                loss=(1 + 0.1 * (step % 3)) * (height if step % 10 == 9 else 1),
                num_images=4 if step % 10 == 9 else 16,
            )
            for step in range(60)
        ]
        rows.insert(30, EvaluationRow(30, 2, "voc_area", 0.5, {"cat": 0.5}))
        (tmp_path / "metrics.jsonl").write_bytes(b"".join(map(format_row, rows)))
        data = DataSet([], ("cat",), {})
        page = publish(tmp_path, data, NOTHING, RESULT, EvaluationConfig(), ORIGIN)
        assert page == tmp_path / "report.html"
        return page.read_text(encoding="utf-8")

    return publish_run


def test_the_report_says_whether_the_loss_spikes(published):
    assert "The loss spikes every 10 steps, at the last step of each pass" in published(4.0)
    assert "No regular spike in 60 steps (6 passes of 10)" in published(1.0)


@pytest.mark.parametrize("length", [3, 10])
def test_the_report_says_what_the_command_says_of_the_run(tmp_path, step_row, length):
    """Also of passes that are too short for spikes of their own."""
    losses = np.random.default_rng(0).uniform(1, 2, 300)
    rows = [
        step_row(
            step=step + 1,
            epoch=step // length,
            step_in_epoch=step % length,
            steps_per_epoch=length,
            loss=float(loss),
            num_images=2 if step % length == length - 1 else 4,
        )
        for step, loss in enumerate(losses)
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(map(format_row, rows)))
    *paragraphs, _ = explain_run(tmp_path, None, None, None).splitlines()
    assert spikes_of_run(tmp_path) == " ".join(paragraphs)
    assert "too few" not in spikes_of_run(tmp_path)


def test_results_are_written_beside_the_report(published, tmp_path):
    published(1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("detections.json", "evaluation.json", "metrics.jsonl", "report.html")
    ]
    assert json.loads((tmp_path / "evaluation.json").read_text())["per_class"] == {"cat": None}


def test_a_folder_that_is_no_run_has_nothing_to_say_of_spikes(tmp_path):
    assert spikes_of_run(tmp_path) == ""
    evaluation = EvaluationRow(30, 2, "voc_area", 0.5, {"cat": 0.5})
    (tmp_path / "metrics.jsonl").write_bytes(format_row(evaluation))
    assert spikes_of_run(tmp_path) == ""
