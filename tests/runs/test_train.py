"""Whole commands, as a user gives them: what a run leaves, resuming, and mistakes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from compare import evaluation

from ssd.data.order import Order
from ssd.run.checkpoint import load_checkpoint
from ssd.run.checkpoints import list_checkpoints

SIX_STEPS = ("--training.steps", "6", "--checkpoint.every_steps", "2")


def rows(run_dir, kind):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def equal(one, other) -> bool:
    """Whether two nested states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def test_a_run_leaves_all_that_is_promised_and_can_be_evaluated(tool, small_run, tmp_path):
    run_dir = tmp_path / "run"
    done = tool("train.py", *small_run, "--training.epochs", "2", "--out", run_dir)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # it lasts seconds, and no library has a word in it
    *_, report, evaluate, predict = done.stdout.splitlines()
    assert report == f"report    {run_dir}/report.html"
    assert (evaluate, predict) == (
        f"next      ssd evaluate {run_dir}",
        f"          ssd predict {run_dir} IMAGES",
    )
    names = {path.name for path in run_dir.iterdir()}
    assert names == {
        *("config.yaml", "environment.json", "metrics.jsonl", "tensorboard", "checkpoints"),
        *("detections.json", "evaluation.json", "report.html", "image_headers.json"),
    }
    train = rows(run_dir, "train")
    assert [row["step"] for row in train] == list(range(1, 13))
    assert [row["epoch"] for row in train] == [0] * 6 + [1] * 6
    assert train[0].keys() >= {
        *("step_in_epoch", "steps_per_epoch", "loss", "class_loss_sum", "box_loss_sum"),
        *("num_positives", "num_images", "divisor", "lr", "grad_norm", "clipped", "skipped"),
        *("images_per_second", "data_wait_seconds"),
    }
    for row in train:
        assert row["num_images"] == 4
        assert row["divisor"] == max(1, row["num_positives"])
        total = row["class_loss_sum"] + row["box_loss_sum"]
        assert row["loss"] == pytest.approx(total / row["divisor"], rel=1e-5)
    assert [row["epoch"] for row in rows(run_dir, "eval")] == [0, 1]

    in_run = json.loads((run_dir / "evaluation.json").read_text())
    assert in_run["num_images"] == 8
    assert in_run["metric"] == "voc_area"
    last = ("--checkpoint", "last")
    again = tool("evaluate.py", run_dir, *last, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert evaluation(tmp_path / "again") == evaluation(run_dir)
    from_file = tool(
        *("evaluate.py", "--detections", run_dir / "detections.json", *small_run),
        *("--data.eval_split", "test", "--evaluation.metric", "voc_area", "--out", "from_file"),
    )
    assert from_file.returncode == 0, from_file.stderr
    of_file = json.loads((tmp_path / "from_file" / "evaluation.json").read_text())
    origin = {"checkpoint", "step", "model", "date", "detections"}
    assert {name: of_file[name] for name in in_run.keys() - origin} == {
        name: in_run[name] for name in in_run.keys() - origin
    }
    assert of_file["detections"] == str(run_dir / "detections.json")
    assert of_file["checkpoint"] is None


def test_a_run_that_was_killed_in_its_last_evaluation_is_evaluated_again(tool, small_run, tmp_path):
    command = ("train.py", *small_run, "--training.steps", "2", "--out", "run")
    tool(*command)
    file = tmp_path / "run" / "evaluation.json"
    first = evaluation(tmp_path / "run")
    file.unlink()
    again = tool(*command)
    assert again.returncode == 0, again.stderr
    assert evaluation(tmp_path / "run") == first
    assert "already reached its last step 2" in tool(*command).stdout


def test_the_resolved_config_loads_again_as_it_is(tool, small_run, tmp_path):
    tool("train.py", *small_run, "--training.steps", "1", "--out", "first")
    tool("train.py", "first/config.yaml", "--out", "second")
    first, second = (
        yaml.safe_load((tmp_path / n / "config.yaml").read_text()) for n in ("first", "second")
    )
    assert first == second
    assert first["model"]["input_size"] == 96


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_bit_for_bit_like_an_undisturbed_one(tool, small_run, tmp_path, workers):
    whole = tool("train.py", *small_run, *SIX_STEPS, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    cut = tool("train.py", *small_run, *SIX_STEPS, "--out", "cut")
    assert cut.returncode == 0, cut.stderr
    checkpoints = list_checkpoints(tmp_path / "cut" / "checkpoints")
    for path in checkpoints:
        if path.name != "step_4":
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    resumed = tool("train.py", *small_run, *SIX_STEPS, "--out", "cut", "--data.workers", workers)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from cut/checkpoints/step_4" in resumed.stdout
    states = [
        load_checkpoint(tmp_path / n / "checkpoints" / "step_6").state for n in ("whole", "cut")
    ]
    assert equal(*states)
    losses = [[row["loss"] for row in rows(tmp_path / n, "train")] for n in ("whole", "cut")]
    assert losses[0] == losses[1]


def test_a_run_that_is_older_than_short_step_goes_on_as_it_began(tool, small_run, tmp_path):
    """Its config.yaml has no such key: its short steps go on counting in full, to the bit."""
    flags = (*small_run, "--training.batch_size", "5")  # 24 images: the last step of a pass has 4
    flags += ("--training.steps", "10", "--checkpoint.every_steps", "5")
    in_the_past = (
        "import ssd.training.trainer as t; plain = t.to_yaml; "
        "t.to_yaml = lambda config: plain(config).replace('  short_step: full\\n', '')"
    )
    past = ("--loss.short_step", "full", "--out", "run")
    begun = tool("train.py", *flags, *past, prepare=in_the_past)
    assert begun.returncode == 0, begun.stderr
    first, last = list_checkpoints(tmp_path / "run" / "checkpoints")[::-1]
    assert "short_step" not in (first / "config.yaml").read_text()
    undisturbed = load_checkpoint(last).state
    shutil.rmtree(last)
    resumed = tool("train.py", *flags, "--out", "run")
    assert resumed.returncode == 0, resumed.stderr
    assert "loss.short_step stays full, as this run began" in resumed.stdout
    assert equal(undisturbed, load_checkpoint(last).state)
    assert "short_step: full" in (tmp_path / "run" / "config.yaml").read_text()
    shared = tool("train.py", *flags, "--out", "shared")
    assert shared.returncode == 0, shared.stderr
    other = load_checkpoint(tmp_path / "shared" / "checkpoints" / "step_10").state
    assert not equal(undisturbed["model"], other["model"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_saves_and_the_same_command_goes_on(repository, small_run, tmp_path, number, status):
    command = [sys.executable, str(repository / "tools/train.py"), *small_run]
    command += ["--training.steps", "2000", "--out", "run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    saved = list_checkpoints(tmp_path / "run" / "checkpoints")[0]
    step = int(saved.name.removeprefix("step_"))
    assert f"stopped after step {step}" in output
    assert rows(tmp_path / "run", "train")[-1]["step"] == step


MISTAKES = {
    "a flag with a typo": (["--data.rot", "x"], "data.root"),
    "a value out of range": (["--training.batch_size", "0"], "training.batch_size is 0"),
    "a word for a number": (["--optimizer.lr", "fast"], "optimizer.lr"),
    "a missing root": (["--data.format", "voc", "--data.root", "nowhere"], "nowhere"),
    "a missing split": (["--data.train_split", "nope"], "trainval"),
    "a missing config": (["missing.yaml"], "missing.yaml"),
    "no such device": (["--training.device", "cuda"], "nvidia-smi"),
    "fp16 on a CPU": (["--training.precision", "fp16"], "bf16"),
    "a class that is not there": (["--data.classes", "[unicorn]"], "unicorn"),
    "weights that are not there": (["--model.weights", "gone.pth"], "gone.pth"),
    "weights for another network": (["--model.weights", "torchvision"], "backbone is ssd7"),
    "one class that is not there": (["--data.classes", "[circle, unicorn]"], "has unicorn"),
    "too few images": (
        ["--training.batch_size", "100", "--training.drop_last", "true"],
        "24 training images",
    ),
    "a checkpoint that is none": (["--resume", "nothing"], "nothing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_line_and_status_2(mistaken, small_run, mistake):
    arguments, hint = MISTAKES[mistake]
    error = mistaken("train.py", *small_run, *arguments, "--out", "run")
    *_, last = error.strip().splitlines()
    assert last.startswith("error: ")
    assert hint in last
    assert "Traceback" not in error


def test_a_run_that_does_not_fit_is_refused_and_nothing_is_lost(tool, small_run, tmp_path):
    two_steps = ("--training.steps", "2", "--checkpoint.every_steps", "1", "--out", "run")
    tool("train.py", *small_run, *two_steps)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    older = tool("train.py", *small_run, *two_steps, "--resume", "run/checkpoints/step_1")
    assert older.returncode == 2
    assert "already holds step_2, which is newer" in older.stderr
    other = tool("train.py", *small_run, *two_steps, "--optimizer.name", "sgd")
    assert other.returncode == 2
    assert "optimizer.name is adamw there, but sgd here" in other.stderr
    larger = tool("train.py", *small_run, *two_steps, "--training.batch_size", "8")
    assert larger.returncode == 2
    assert "images per step: 4, but here it is 8" in larger.stderr
    done = tool("train.py", *small_run, "--data.classes", "[circle, star]", "--out", "run")
    assert done.returncode == 2
    assert "was trained on the classes" in done.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
    (tmp_path / "file").touch()
    no_folder = tool("train.py", *small_run, "--out", "file")
    assert no_folder.returncode == 2
    assert "file is no folder: give another --out" in no_folder.stderr
    never = tool("train.py", *small_run, "--resume", "never", "--out", "run")
    assert never.returncode == 2
    assert "already holds a run" in never.stderr


def test_predictions_are_drawn_and_listed_and_overwrite_nothing(
    tool, small_run, small_shapes, tmp_path
):
    tool("train.py", *small_run, "--training.steps", "1", "--out", "run")
    images = small_shapes / "JPEGImages"
    done = tool("predict.py", "run", images, "--min_score", "0.01", "--out", "predictions")
    assert done.returncode == 0, done.stderr
    stems = {path.stem for path in images.iterdir()}
    assert {path.stem for path in (tmp_path / "predictions").glob("*.jpg")} == stems
    found = json.loads((tmp_path / "predictions" / "detections.json").read_text())
    assert found
    assert all(entry["image_id"] in stems and entry["score"] >= 0.01 for entry in found)

    (tmp_path / "photos/sub").mkdir(parents=True)
    whole = next(images.iterdir()).read_bytes()
    (tmp_path / "photos/broken.jpg").write_bytes(whole[:-100])
    (tmp_path / "photos/sub/whole.jpg").write_bytes(whole)
    done = tool("predict.py", "run", "photos", "--recursive", "--min-score", "0.01")
    assert done.returncode == 1, done.stderr
    assert "left out 1 of 2 images (" in done.stdout
    assert "\n  photos/broken.jpg: " in done.stdout
    found = json.loads((tmp_path / "predictions" / "detections.json").read_text())
    assert {entry["image_id"] for entry in found} == {"whole"}
    missing = tool("predict.py", "run", "photos", "nowhere.jpg")
    assert missing.returncode == 2
    assert "nowhere.jpg: there is no such file" in missing.stderr

    before = {path: path.read_bytes() for path in images.iterdir()}
    refused = tool("predict.py", "run", images, "--out", images)
    assert refused.returncode == 2
    assert "and not predictions: give a new or an empty folder" in refused.stderr
    assert {path: path.read_bytes() for path in images.iterdir()} == before


def test_a_run_starts_from_what_another_has_learned_of_the_shared_classes(
    tool, small_run, tmp_path
):
    two = ("--data.classes", "[circle, star]")
    done = tool("train.py", *small_run, *two, "--training.steps", "2", "--out", "first")
    assert done.returncode == 0, done.stderr
    assert "weights   random" in done.stdout

    finer = ("--data.classes", "[star, square]", "--model.weights", "first")
    command = ("train.py", *small_run, *finer, "--out", "second", "--optimizer.lr", "1e-12")
    done = tool(*command, "--training.steps", "1")
    assert done.returncode == 0, done.stderr
    told = "weights   first/checkpoints/step_2 (classes kept: star; fresh: square)"
    assert told in done.stdout
    first, second = (
        load_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[0])
        for name in ("first", "second")
    )
    before, after = first.weights, second.state["model"]
    stars = before["head.logits.0.weight"][2::3]
    torch.testing.assert_close(after["head.logits.0.weight"][1::3], stars)
    torch.testing.assert_close(after["head.locations.0.bias"], before["head.locations.0.bias"])

    (tmp_path / "first").rename(tmp_path / "moved")
    resumed = tool(*command, "--training.steps", "2")
    assert resumed.returncode == 0, resumed.stderr
    assert "weights   " not in resumed.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "a run and a file to write are needed"),
        (["gone", "--out", "model.pth"], "gone is not a folder"),
        (["gone", "--out", "model.onnx"], "gone is not a folder"),
        (["gone", "--out", "model.bin"], "has to end in .onnx, .xml, .pt2 or .pth"),
    ],
)
def test_a_mistaken_export_ends_in_one_line(mistaken, arguments, hint):
    error = mistaken("export.py", *arguments)
    assert error.startswith("error: ")
    assert hint in error
    assert error.count("\n") == 1


def test_an_evaluation_leaves_the_files_of_another_run_alone(tool, small_run, tmp_path):
    tool("train.py", *small_run, "--training.steps", "1", "--out", "run")
    config = (tmp_path / "run" / "config.yaml").read_text()
    file = tmp_path / "run" / "detections.json"
    done = tool("evaluate.py", "--detections", file, *small_run, "--out", "run")
    assert done.returncode == 2
    assert "run holds a run and not an evaluation: give a new" in done.stderr
    assert (tmp_path / "run" / "config.yaml").read_text() == config


@pytest.mark.parametrize("where", ["step", "evaluation"])
def test_a_run_that_crashes_ends_although_its_workers_are_busy(tool, small_run, where):
    """They leave stopping to their parent, which therefore has to end them."""
    parts = {
        "step": "ssd.training.trainer.Trainer.tell_unreadable",
        "evaluation": "ssd.detect.detector.Detector.__call__",
    }
    crash = f"""
from unittest import mock
mock.patch({parts[where]!r}, side_effect=RuntimeError("a defect")).start()
"""
    flags = ("--data.workers", "2", "--training.steps", "2", "--out", "run")
    done = tool("train.py", *small_run, *flags, timeout=60, prepare=crash)
    assert done.returncode == 1
    assert "RuntimeError: a defect" in done.stderr


def test_a_reader_that_has_seen_enough_ends_the_run(repository, small_run):
    command = [sys.executable, str(repository / "tools" / "train.py"), *small_run]
    flags = ["--data.workers", "2", "--training.steps", "500", "--out", "run"]
    with subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert "is taken for" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141


@pytest.mark.distributed
def test_two_ranks_share_a_run_and_one_goes_on_with_it(
    torchrun, tool, repository, small_run, tmp_path
):
    flags = [*small_run, "--data.workers", "1", "--out", "run"]
    halves = ("--training.batch_size", "2", "--training.steps", "8")
    done = torchrun(2, repository / "tools" / "train.py", *flags, *halves)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 ranks") == done.stdout.count("report    run/") == 1
    run_dir = tmp_path / "run"
    assert [(row["step"], row["num_images"]) for row in rows(run_dir, "train")] == [
        (step, 4) for step in range(1, 9)
    ]
    assert evaluation(run_dir)["num_images"] == 8
    done = tool("train.py", *flags, "--training.steps", "10")
    assert done.returncode == 0, done.stderr
    assert "steps 9 to 10" in done.stdout
    assert [row["step"] for row in rows(run_dir, "train")] == list(range(1, 11))


@pytest.mark.distributed
def test_a_loss_that_is_not_finite_on_one_rank_skips_the_step_on_all_and_names_the_images(
    torchrun, repository, small_run, tmp_path
):
    script = tmp_path / "train.py"
    script.write_text(f"""
import runpy
from unittest import mock
from ssd.training import trainer
from ssd.training.ranks import rank

train_step = trainer.train_step

def poisoned(state, batches, *others):
    if rank() == 1 and state.step == 2:
        batches[0].images.fill_(float("nan"))
    return train_step(state, batches, *others)

with mock.patch.object(trainer, "train_step", poisoned):
    runpy.run_path({str(repository / "tools" / "train.py")!r}, run_name="__main__")
""")
    flags = ("--training.batch_size", "2", "--training.steps", "4", "--optimizer.lr_images", "2")
    done = torchrun(2, script, *small_run, *flags, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert [row["skipped"] for row in rows(tmp_path / "run", "train")] == [
        False,
        False,
        True,
        False,
    ]
    (told,) = [line for line in done.stdout.splitlines() if "not finite" in line]
    assert told.startswith("step 3 skipped")
    order = Order(24, 2, 1, 2, seed=0, drop_last=False)
    stems = (small_run_root(small_run) / "ImageSets/Main/trainval.txt").read_text().split()
    wanted = [stems[index] for rank in (0, 1) for index in order.micro_batches(2, rank)[0]]
    assert told.endswith("images " + ", ".join(wanted))
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "step_4").state
    assert state["updates"] == 3
    assert all(value.isfinite().all() for value in state["model"].values())
    assert "lr        0.006: 0.003 x 4 images a step / 2" in done.stdout


def small_run_root(small_run):
    return Path(small_run[small_run.index("--data.root") + 1])


@pytest.mark.distributed
def test_the_mistake_that_one_rank_meets_is_told_in_one_line(
    torchrun, repository, small_run, tmp_path
):
    script = tmp_path / "train.py"
    script.write_text(f"""
import runpy, sys
from unittest import mock
from ssd.common.errors import UserError
from ssd.training import trainer
from ssd.training.ranks import rank

def tell(self, problems):
    if rank() == 1 and self.state.step == 2:
        raise UserError("an image of this rank alone")

with mock.patch.object(trainer.Trainer, "tell_unreadable", tell):
    runpy.run_path({str(repository / "tools" / "train.py")!r}, run_name="__main__")
""")
    done = torchrun(2, script, *small_run, "--training.batch_size", "2", "--out", "run")
    assert done.returncode != 0
    assert "error: an image of this rank alone" in done.stderr
    assert "UserError" not in done.stderr
