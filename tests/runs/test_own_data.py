"""`--data.root FOLDER` alone: runs on folders in the layouts of tools, and their checks."""

import json
import shutil
from pathlib import Path

import pytest

from ssd.common.errors import UserError
from ssd.config.settings import read_config
from ssd.detect.evaluate import evaluate_trained
from ssd.training.start import train

TINY = {"input_size": 96}


@pytest.fixture
def own(small_shapes, tmp_path):
    """A folder of pictures and XML files side by side, as LabelImg leaves it."""
    root = tmp_path / "own"
    root.mkdir()
    for number in range(10):
        shutil.copy(small_shapes / "JPEGImages" / f"shapes_{number:05}.jpg", root)
        shutil.copy(small_shapes / "Annotations" / f"shapes_{number:05}.xml", root)
    return root


@pytest.fixture
def run(repository, tmp_path, capsys):
    """Trains two steps of `custom_voc`, and returns the folder and what was printed."""

    def start(root, out="run", steps=2, **data):
        config = read_config(
            [repository / "configs" / "custom_voc.yaml"],
            {
                "data": {"root": str(root), "workers": 0, **data},
                "model": TINY,
                "training": {"steps": steps, "batch_size": 2, "device": "cpu"},
                "evaluation": {"every_epochs": 0},
            },
        )
        assert train(config, tmp_path / out, "auto") == 0
        return tmp_path / out, capsys.readouterr().out

    return start


def ids_in(path):
    return {part: set(names) for part, names in json.loads(path.read_text()).items()}


def test_a_folder_without_splits_is_divided_and_stays_so(own, run, small_shapes):
    folder, told = run(own)
    assert "is taken for Pascal VOC without lists, XML files beside the images" in told
    assert "8 images to train on" in told
    assert "2 to evaluate on" in told
    first = ids_in(folder / "division.json")
    assert [len(first[part]) for part in ("train", "eval")] == [8, 2]
    assert sorted(path.name for path in own.iterdir() if path.suffix not in {".jpg", ".xml"}) == []
    assert read_config([folder / "config.yaml"]).data.train_split == "."

    # A resumed run keeps the division, and places a new image by chance.
    shutil.copy(small_shapes / "JPEGImages" / "shapes_00011.jpg", own)
    shutil.copy(small_shapes / "Annotations" / "shapes_00011.xml", own)
    with pytest.raises(UserError, match=r"data\.split_seed is 0 there, but 5 here"):
        run(own, steps=4, split_seed=5)
    _, told = run(own, steps=4)
    assert "resuming from" in told
    second = ids_in(folder / "division.json")
    assert first["train"] <= second["train"]
    assert first["eval"] <= second["eval"]
    assert len(second["train"]) + len(second["eval"]) == 11

    count = len(second["eval"])
    settings = {"training": {"device": "cpu"}}
    assert evaluate_trained(folder, settings, folder / "again").result.num_images == count
    checkpoint = folder / "checkpoints" / "step_4"
    assert evaluate_trained(checkpoint, settings, folder / "other").result.num_images == count


def test_a_run_without_evaluation(own, run):
    folder, told = run(own, eval_split=None)
    assert "no evaluation" in told
    assert "10 images to train on" in told
    assert "none to evaluate on" in told
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    kinds = [json.loads(row)["kind"] for row in rows]
    assert kinds == ["train", "train"]
    assert (folder / "report.html").exists()
    assert (folder / "checkpoints" / "step_2").is_dir()
    assert not (folder / "evaluation.json").exists()
    assert not (folder / "division.json").exists()
    _, told = run(own, eval_split=None)
    assert "has already reached its last step 2" in told
    _, told = run(own, steps=3, eval_split=None)
    assert "steps 3 to 3" in told


def test_a_run_without_evaluation_cannot_be_evaluated_unasked(own, run, tool):
    folder, _ = run(own, eval_split=None)
    done = tool("evaluate.py", folder)
    assert done.returncode == 2
    assert "data.eval_split is null: give the split to evaluate on by --split" in done.stderr


CASES = {
    "voc-roboflow": (2, 2, ["cat"]),
    "coco-roboflow": (2, 2, ["cat"]),
    "voc-kaggle-folders": (2, 2, ["cat"]),
    "voc-yes-no-classes": (2, 2, ["no", "yes"]),
    "coco-number-names": (2, 2, ["1"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_trains(name, case, run):
    trained, evaluated, classes = CASES[name]
    folder, told = run(case(name))
    assert f"{trained} images to train on" in told
    assert f"{evaluated} to evaluate on" in told
    result = json.loads((folder / "evaluation.json").read_text())
    assert sorted(result["per_class"]) == classes
    assert sum(result["num_ground_truth"].values()) == 2


def test_the_check_of_a_folder(own, tool):
    done = tool("check_data.py", own, "--data.workers", 0, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "training on all images but 20%, which are held out to evaluate on" in done.stdout
    details = json.loads(Path("out/data_check.json").read_text())
    assert (details["images"], details["eval_images"]) == (8, 2)
    alone = tool("check_data.py", own, "--data.eval_split", "null", "--out", "out")
    assert alone.returncode == 0, alone.stderr
    details = json.loads(Path("out/data_check.json").read_text())
    assert (details["images"], details["eval_images"]) == (10, 0)


def test_names_that_yaml_takes_for_something_else(case, tool):
    root = case("voc-yes-no-classes")
    done = tool("check_data.py", root, "--data.classes", "[yes, no]", "--out", "out")
    assert done.returncode == 0, done.stderr
    details = json.loads(Path("out/data_check.json").read_text())
    assert details["data"]["classes"] == ["yes", "no"]
    assert [row["objects"] for row in details["statistics"]["classes"]] == [1, 1]


def test_two_folders_are_one_too_many(own, mistaken, tmp_path):
    (tmp_path / "second").mkdir()
    assert "check one data set at a time" in mistaken("check_data.py", own, tmp_path / "second")


def test_a_resume_without_any_image_that_was_held_out_says_so(own, run):
    folder, _ = run(own)
    for name in ids_in(folder / "division.json")["eval"]:
        for suffix in (".jpg", ".xml"):
            (own / f"{name}{suffix}").unlink()
    with pytest.raises(UserError, match=r"division\.json keeps to evaluate on is left: put them"):
        run(own, steps=4)


def test_an_image_that_is_missing_is_told_of_the_part_to_train_on_alone(own, run):
    folder, _ = run(own)
    gone = sorted(ids_in(folder / "division.json")["train"])[0]
    (own / f"{gone}.jpg").unlink()
    folder, told = run(own, out="again")
    assert "7 images to train on" in told
    assert gone in told
    assert json.loads((folder / "evaluation.json").read_text())["left_out"] == 0


def test_a_held_out_image_that_was_missing_for_a_while_is_never_trained_on(own, run, tmp_path):
    folder, _ = run(own)
    first = ids_in(folder / "division.json")
    gone = min(first["eval"])
    aside = tmp_path / "aside"
    aside.mkdir()
    for suffix in (".jpg", ".xml"):
        shutil.move(own / f"{gone}{suffix}", aside)
    _, told = run(own, steps=4)
    line = f"1 of the 2 images held out are not there or cannot be used: {gone}"
    assert f"caution   {line}" in told
    assert line in evaluate_trained(folder, {"training": {"device": "cpu"}}, None).told
    for suffix in (".jpg", ".xml"):
        shutil.move(aside / f"{gone}{suffix}", own)
    _, told = run(own, steps=6)
    assert "8 images to train on" in told
    assert "held out are not there" not in told
    assert ids_in(folder / "division.json") == first
