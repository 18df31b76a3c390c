import json
import math
from dataclasses import replace

from ssd.evaluation.coco import FIGURES
from ssd.evaluation.result import EvaluationResult, result_table
from ssd.run.results import write_evaluation

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


def test_evaluation_json(tmp_path):
    path = tmp_path / "evaluation.json"
    write_evaluation(path, RESULT, "voc07")
    assert json.loads(path.read_text(), parse_constant=lambda _: "not JSON") == {
        "metric": "voc07",
        "mAP": 0.625,
        "per_class": {"cat": 0.75, "potted plant": 0.5, "emu": None},
        "num_images": 11,
        "images_left_out": 2,
        "num_detections": 103,
        "num_ground_truth": {"cat": 12_345, "potted plant": 7, "emu": 0},
    }
    assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]


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
    write_evaluation(path, COCO, "coco")
    content = json.loads(path.read_text(), parse_constant=lambda _: "not JSON")
    assert content["coco"].keys() == set(FIGURES)
    assert (content["coco"]["AP75"], content["coco"]["APs"]) == (0.25, None)
    assert result_table(COCO).splitlines()[-3:] == [
        "",
        "AP 0.5000  AP50 0.5000  AP75 0.2500  APs –  APm 0.5000  APl 0.5000",
        "AR1 0.5000  AR10 0.5000  AR100 0.5000  ARs 0.5000  ARm 0.5000  ARl 0.5000",
    ]
