import math

import pytest

from ssd.report.head import duration, facts, tiles
from ssd.steps import EvaluationRow

CONFIG = {
    "data": {"root": "/data/cells", "format": "voc", "eval_split": "test"},
    "model": {"backbone": "ssd7", "input_size": 224},
    "evaluation": {"iou_threshold": 0.5},
}
ROWS = [
    EvaluationRow(50, 4, "voc_area", 0.25, {}),
    EvaluationRow(100, 9, "voc_area", 0.75, {}),
    EvaluationRow(150, 14, "voc_area", 0.5, {}),
    EvaluationRow(200, 19, "voc_area", math.nan, {}),
]


def test_an_evaluation_that_names_what_it_is_of(step_row):
    evaluation = {
        "data": "cells",
        "format": "coco",
        "split": ["a", "b"],
        "num_images": 1234,
        "left_out": 2,
        "model": {"backbone": "vgg16", "input_size": 300},
        "metric": "voc07",
        "iou_threshold": 0.6,
        "checkpoint": "/runs/mine/checkpoints/step_900",
        "step": 900,
        "date": "2026-11-28T13:37:49+00:00",
    }
    assert facts(evaluation, CONFIG, {"started": "2020-01-01"}, [], []) == [
        ("Data", "cells · coco · split a + b · 1\u202f234 images · 2 left out"),
        ("Model", "vgg16 at 300 × 300 pixels"),
        ("Metric", "mAP · VOC 2007, 11 points, at overlap (IoU) 0.6"),
        ("Checkpoint", "step_900"),
        ("Date", "2026-11-28 13:37"),
    ]
    evaluation["model"] = {"backbone": "ssd7", "input_size": [256, 512]}
    told = dict(facts(evaluation, CONFIG, {}, [], []))
    assert told["Model"] == "ssd7 at 256 × 512 pixels"


def test_an_older_evaluation_is_named_by_the_run(step_row):
    told = dict(facts({"metric": "coco", "num_images": 1}, CONFIG, {}, [step_row()], ROWS))
    assert told == {
        "Data": "/data/cells · voc · split test · 1 image",
        "Model": "ssd7 at 224 × 224 pixels",
        "Metric": "mAP · COCO, mean over the overlaps (IoU) 0.50 to 0.95",
    }


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"step": 1200}, "step 1\u202f200"),
        ({"step": 1200, "checkpoint": "runs/mine/best"}, "step 1\u202f200"),
        ({"checkpoint": "runs/mine/best"}, "best"),
    ],
)
def test_a_checkpoint_is_named_by_its_step(known, told):
    assert facts(known, {}, {}, [], []) == [("Checkpoint", told)]


def test_detections_of_a_file_name_it():
    evaluation = {"model": None, "checkpoint": None, "step": None, "detections": "found.json"}
    assert facts(evaluation, CONFIG, {}, [], [])[1:] == [("Detections", "found.json")]


def test_without_training_the_config_does_not_tell_the_model():
    assert "Model" not in dict(facts({}, CONFIG, {}, [], []))


@pytest.mark.parametrize("odd", [None, 7, "", [], {}, [1, {}], {"backbone": None}, 1e999])
def test_odd_values_do_no_harm(odd):
    keys = ("data", "format", "split", "num_images", "left_out", "model", "metric", "step", "date")
    evaluation = dict.fromkeys((*keys, "iou_threshold", "checkpoint", "mAP"), odd)
    assert all(isinstance(text, str) for pair in facts(evaluation, {}, {}, [], []) for text in pair)
    tiles(evaluation, [], [])


def test_the_best_and_the_last_score(step_row):
    steps = [step_row(step=step, epoch=(step - 1) // 10, steps_per_epoch=10, num_images=8)
             for step in range(1, 156)]  # fmt: skip
    told = {name: (figure, more) for name, figure, more in tiles({"mAP": 0.625}, steps, ROWS)}
    assert told == {
        "mAP": ("62.5 %", "of this evaluation"),
        "Last score": ("50.0 %", "mAP, after epoch 15"),
        "Best score": ("75.0 %", "mAP, after epoch 10"),
        "Epochs": ("15.5", "155 steps, 1\u202f240 images"),
    }


def test_a_score_is_not_told_twice():
    assert [name for name, *_ in tiles({"mAP": 0.25, "num_images": 3}, [], ROWS[:1])] == ["mAP"]
    assert tiles({}, [], ROWS[:1]) == [("Last score", "25.0 %", "mAP, after epoch 5")]
    assert tiles({}, [], ROWS[3:]) == []


def test_the_speed_is_that_of_all_images(step_row):
    rows = [step_row(step=1, num_images=30, images_per_second=10.0)]
    rows += [step_row(step=2, num_images=30, images_per_second=30.0), step_row(step=3)]
    told = {name: (figure, more) for name, figure, more in tiles({}, rows, [])}
    assert told["Speed"] == ("15", "images per second in training")
    assert told["Training time"][0] == "4 s"
    assert told["Steps"] == ("3", "60 images")


@pytest.mark.parametrize(
    ("seconds", "written"), [(75, "75 s"), (600, "10 min"), (8000, "2 h 13 min")]
)
def test_durations(seconds, written):
    assert duration(seconds) == written
