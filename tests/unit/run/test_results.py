import datetime
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ssd.common.errors import UserError
from ssd.config import Config, DataConfig, EvaluationConfig, ModelConfig
from ssd.evaluation.coco import FIGURES
from ssd.evaluation.result import EvaluationResult, result_table
from ssd.run.results import Model, StoredEvaluation, origin_of, read_evaluation, write_evaluation

RESULT = EvaluationResult(
    mAP=0.625,
    per_class={"cat": 0.75, "potted plant": 0.5, "emu": math.nan},
    curves={},
    num_ground_truth={"cat": 12_345, "potted plant": 7, "emu": 0},
    detections_per_class={"cat": 100, "potted plant": 0, "emu": 3},
    num_images=11,
    num_detections=103,
    images_left_out=2,
)


ORIGIN = origin_of(
    Config(
        data=DataConfig(format="voc", root="pets", eval_split="test"),
        model=ModelConfig(backbone="ssd7", input_size=96),
        evaluation=EvaluationConfig(metric="voc07", iou_threshold=0.6),
    ),
    Path("run/checkpoints/step_6"),
    6,
)


def test_evaluation_json_says_what_it_is_of(tmp_path):
    path = tmp_path / "evaluation.json"
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    write_evaluation(path, RESULT, ORIGIN)
    content = json.loads(path.read_text(), parse_constant=lambda _: "not JSON")
    date = datetime.datetime.fromisoformat(content.pop("date"))
    assert before <= date <= datetime.datetime.now(datetime.UTC)
    assert content == {
        "data": "pets",
        "format": "voc",
        "split": "test",
        "checkpoint": "run/checkpoints/step_6",
        "step": 6,
        "iou_threshold": 0.6,
        "score_threshold": 0.01,
        "mirror": False,
        "model": {"backbone": "ssd7", "input_size": 96},
        "detections": None,
        "metric": "voc07",
        "mAP": 0.625,
        "per_class": {"cat": 0.75, "potted plant": 0.5, "emu": None},
        "num_images": 11,
        "left_out": 2,
        "num_detections": 103,
        "num_ground_truth": {"cat": 12_345, "potted plant": 7, "emu": 0},
    }
    assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]
    stored = read_evaluation(path)
    assert (stored.mAP, stored.left_out, stored.model) == (0.625, 2, Model("ssd7", 96))
    assert stored.per_class == {"cat": 0.75, "potted plant": 0.5, "emu": None}
    assert (stored.split, stored.step, stored.coco) == ("test", 6, {})


def test_an_evaluation_of_earlier_versions_is_read(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text('{"metric": "coco", "per_class": {}, "mAP": null, "images_left_out": 3}')
    assert read_evaluation(path) == StoredEvaluation("coco", {})


@pytest.mark.parametrize("broken", ["", "[1]", '{"metric": 1}', "[" * 100_000, "\udc80", None])
def test_what_is_no_evaluation_is_told_in_one_line(tmp_path, broken):
    path = tmp_path / "evaluation.json"
    if broken is not None:
        path.write_bytes(broken.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"evaluation\.json") as error:
        read_evaluation(path)
    assert "\n" not in str(error.value)


def test_result_table():
    assert result_table(RESULT).splitlines() == [
        "class         ground truth  detections      AP",
        "────────────  ────────────  ──────────  ──────",
        "cat                 12,345         100  0.7500",
        "potted plant             7           0  0.5000",
        "emu                      0           3       –",
        "────────────  ────────────  ──────────  ──────",
        "mean                12,352         103  0.6250",
    ]


COCO = replace(RESULT, coco=dict.fromkeys(FIGURES, 0.5) | {"AP75": 0.25, "APs": math.nan})


def test_cocos_figures(tmp_path):
    path = tmp_path / "evaluation.json"
    write_evaluation(path, COCO, replace(ORIGIN, metric="coco"))
    content = json.loads(path.read_text(), parse_constant=lambda _: "not JSON")
    assert content["coco"].keys() == set(FIGURES)
    assert (content["coco"]["AP75"], content["coco"]["APs"]) == (0.25, None)
    assert result_table(COCO).splitlines()[-3:] == [
        "",
        "AP 0.5000  AP50 0.5000  AP75 0.2500  APs –  APm 0.5000  APl 0.5000",
        "AR1 0.5000  AR10 0.5000  AR100 0.5000  ARs 0.5000  ARm 0.5000  ARl 0.5000",
    ]
