"""An exported file among the words of a command line."""

import pytest

from ssd.commands.exported import SWITCHES, first_word, is_exported
from ssd.commands.predict_flags import FLAGS


@pytest.mark.parametrize(
    "line",
    [
        "model.onnx photo.jpg --out o",
        "--out o model.onnx photo.jpg",
        "--min-score 0.5 --out=o model.onnx photo.jpg",
        "--no-draw model.onnx photo.jpg",
        "--no_draw --trust model.onnx photo.jpg",
        "--data.root FOLDER model.onnx",
        "--evaluation.mirror true model.onnx",
    ],
)
def test_flags_and_their_values_may_come_first(line):
    assert first_word(line.split()) == "model.onnx"
    assert is_exported(line.split())


@pytest.mark.parametrize("line", ["", "--help", "runs/mine --out x.onnx", "--out x.onnx runs/mine"])
def test_the_value_of_a_flag_is_no_file_to_run(line):
    assert not is_exported(line.split())


def test_every_switch_is_known():
    assert {flag.name for flag in FLAGS if flag.kind is bool} < SWITCHES
