"""A run whose input is not square: training, evaluation, prediction, export, and what follows."""

import json

import cv2
import numpy as np
import pytest
import yaml

FLAGS = ("--model.input_size", "96x160", "--training.batch_size", "4", "--training.device", "cpu")


@pytest.fixture(scope="module")
def wide_run(tool, small_shapes, tmp_path_factory):
    """A run at 96 by 160 pixels, and the flags of its data."""
    home = tmp_path_factory.mktemp("wide")
    data = ["--data.format", "voc", "--data.root", str(small_shapes), "--data.workers", "0"]
    done = tool(
        *("train.py", *data, *FLAGS, "--training.steps", "25"),
        *("--model.fit_boxes", "true", "--out", home / "run"),
    )
    assert done.returncode == 0, done.stderr
    assert "ssd7 at 96x160 pixels" in done.stdout
    return home / "run", data


def score(folder):
    return json.loads((folder / "evaluation.json").read_text())["mAP"]


def test_the_run_keeps_its_size_and_goes_on_with_no_other(wide_run, tool, tmp_path):
    run, data = wide_run
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["input_size"] == [96, 160]
    more = ("--training.steps", "27", "--model.fit_boxes", "true", "--out", run)
    done = tool(
        "train.py", *data, *FLAGS[2:], *more, "--model.input_size", "160x96", "--resume", "auto"
    )
    assert done.returncode == 2
    assert "model.input_size is [96, 160] there, but [160, 96] here" in done.stderr
    further = ("--model.weights", run, "--training.steps", "2", "--out", "further")
    done = tool("train.py", *data, *FLAGS, *further)
    assert done.returncode == 2
    assert "model.box_sizes are" in done.stderr or "aspect_ratios is" in done.stderr


def test_the_data_is_checked_at_that_size(wide_run, tool, tmp_path):
    _, data = wide_run
    done = tool("check_data.py", *data, "--model.input_size", "96x160", "--out", "checked")
    assert done.returncode == 0, done.stderr
    assert "size at 96x160 pixels" in done.stdout
    details = json.loads((tmp_path / "checked" / "data_check.json").read_text())
    assert details["input_size"] == [96, 160]


def test_files_of_it_find_what_the_run_finds(wide_run, tool, tmp_path, small_shapes):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install '.[export]'")
    pytest.importorskip("onnxscript", reason="needs onnxscript: pip install '.[export]'")
    run, data = wide_run
    exact = ("--training.precision", "fp32", "--training.device", "cpu", "--checkpoint", "last")
    done = tool("evaluate.py", run, *exact, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "ssd7 at 96x160 pixels" in done.stdout
    assert score(tmp_path / "run") > 0
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, path in enumerate(sorted((small_shapes / "JPEGImages").iterdir())[:3]):
        pixels = cv2.resize(cv2.imread(str(path)), (150 + 40 * number, 90))
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    done = tool("predict.py", run, folder, *exact, "--min-score", "0.02", "--out", "found")
    assert done.returncode == 0, done.stderr
    expected = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert len(expected) > 3
    for flags in ((), ("--preprocess",)):
        name = f"file{len(flags)}"
        file = tmp_path / name / "model.onnx"
        done = tool("export.py", run, "--checkpoint", "last", *flags, "--out", file)
        assert done.returncode == 0, done.stderr
        assert "160" in (file.parent / "MODEL.md").read_text()
        done = tool("evaluate.py", file, *data[:-2], "--out", f"{name}_score")
        assert done.returncode == 0, done.stderr
        assert score(tmp_path / f"{name}_score") == pytest.approx(score(tmp_path / "run"), abs=1e-4)
        done = tool("predict.py", file, folder, "--min-score", "0.02", "--out", f"{name}_found")
        assert done.returncode == 0, done.stderr
        found = json.loads((tmp_path / f"{name}_found" / "detections.json").read_text())
        assert len(found) == len(expected)
        corners = [np.array([each["bbox"] for each in rows]) for rows in (found, expected)]
        np.testing.assert_allclose(*corners, atol=0.3)


def test_torchvision_has_no_such_network(wide_run, tool, tmp_path):
    run, _ = wide_run
    done = tool("export.py", run, "--out", "model.pth")
    assert done.returncode == 2
    assert "is ssd7 at 96x160 pixels, but torchvision has" in done.stderr
    done = tool("train.py", *FLAGS, "--model.backbone", "vgg16", "--out", "vgg")
    assert done.returncode == 2
    assert "model.input_size is 96x160, but VGG takes 300 or 512" in done.stderr
    assert not (tmp_path / "model.pth").exists()
