"""Resuming with other settings: what is refused, what is told, and what the run folder keeps."""

import json
import runpy
import shutil
import sys

import pytest
import torch
import yaml
from torchvision.models import get_weight, mobilenet_v3_large

from ssd.model.weights import IMAGENET
from ssd.run.changes import changes

TWO_STEPS = ("--training.steps", "2", "--out", "run")


def state_of(folder):
    """Every file of a run folder with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def steps_in(run_dir):
    rows = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [row["step"] for row in rows if row["kind"] == "train"]


@pytest.fixture(scope="module")
def begun(tool, small_shapes, tmp_path_factory):
    """A run of two steps that holds out a share of its images."""
    folder = tmp_path_factory.mktemp("begun")
    flags = (
        *("--data.format", "voc", "--data.root", small_shapes, "--data.workers", "0"),
        *("--data.eval_split", "share", "--model.input_size", "96", "--training.batch_size", "4"),
        *("--training.device", "cpu", "--training.log_every", "3"),
    )
    done = tool("train.py", *flags, "--training.steps", "2", "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run", flags


ANOTHER_RUN = {
    "model.backbone": ("vgg16", "model.backbone is ssd7 there, but vgg16 here"),
    "model.input_size": ("128", "model.input_size is 96 there, but 128 here"),
    "model.box_sizes": ("[9, 20, 30, 40, 50]", "model.box_sizes is null there, but [9"),
    "data.eval_split": ("null", "data.eval_split is share there, but null here"),
    "data.eval_share": ("0.5", "data.eval_share is 0.2 there, but 0.5 here"),
    "data.train_split": ("test", "data.train_split is trainval there, but test here"),
    "data.classes": ("[square, circle, star, triangle, cross]", "in another order"),
    "training.seed": ("1", "training.seed is 0 there, but 1 here"),
    "training.batch_size": ("2", "images per step: 4, but here it is 2"),
    "training.steps": ("1", "training.steps 1 ends before step 2"),
    "loss.divisor": ("rank_positives", "step_positives there, but rank_positives here"),
    "optimizer.name": ("sgd", "optimizer.name is adamw there, but sgd here"),
}


@pytest.mark.parametrize("setting", ANOTHER_RUN)
def test_a_setting_that_makes_another_run_is_refused_in_words(begun, mistaken, setting):
    run_dir, flags = begun
    value, words = ANOTHER_RUN[setting]
    before = state_of(run_dir)
    length = () if setting == "training.steps" else ("--training.steps", "4")
    error = mistaken("train.py", *flags, *length, f"--{setting}", value, "--out", run_dir)
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert "state_dict" not in error
    assert "head." not in error
    assert state_of(run_dir) == before


def test_the_length_in_epochs_is_told_in_steps(begun, mistaken):
    run_dir, flags = begun
    one = (*flags, "--training.epochs", "1", "--out", run_dir)
    longer = run_dir.with_name("longer")
    shutil.copytree(run_dir, longer)
    (longer / "checkpoints" / "step_2").rename(longer / "checkpoints" / "step_9")
    manifest = longer / "checkpoints" / "step_9" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"step": 2', '"step": 9'))
    error = mistaken("train.py", *one[:-1], longer)
    assert "training.epochs 1, which is 5 steps, ends before step 9" in error


def test_a_run_that_is_named_without_its_settings_says_where_they_are(tool, small_run, tmp_path):
    tool("train.py", *small_run, *TWO_STEPS)
    done = tool("train.py", "--out", "run", "--training.device", "cpu")
    assert done.returncode == 2
    assert "which are in run/checkpoints/step_2/config.yaml" in done.stderr
    assert done.stderr.count("\n") == 1
    again = tool("train.py", "run/config.yaml", "--training.steps", "3", "--out", "run")
    assert again.returncode == 0, again.stderr


def test_a_setting_that_may_change_is_told_and_kept_with_its_step(tool, small_run, tmp_path):
    first = tool("train.py", *small_run, *TWO_STEPS)
    assert "changed" not in first.stdout
    run_dir = tmp_path / "run"
    assert not (run_dir / "changes.jsonl").exists()
    lower = ("--optimizer.lr", "0.0005", "--training.ema_decay", "null")
    done = tool("train.py", *small_run, *TWO_STEPS, *lower, "--training.steps", "4")
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.split("changed   ")[1].splitlines()[:3]]
    assert ["optimizer.lr", "0.003", "->", "0.0005"] in told
    assert ["training.ema_decay", "0.998", "->", "null"] in told
    assert ["training.steps", "2", "->", "4"] in told

    more = ("--training.steps", "6", "--data.workers", "1")
    done = tool("train.py", *small_run, *TWO_STEPS, *lower, *more)
    assert done.returncode == 0, done.stderr
    assert "optimizer.lr" not in done.stdout
    kept = changes(run_dir)
    assert [(one.step, one.setting, one.old, one.new) for one in kept] == [
        (3, "optimizer.lr", 0.003, 0.0005),
        (3, "training.steps", 2, 4),
        (3, "training.ema_decay", 0.998, None),
        (5, "data.workers", 0, 1),
        (5, "training.steps", 4, 6),
    ]
    text = (run_dir / "config.yaml").read_text()
    assert "# from step 3 on: optimizer.lr 0.003 -> 0.0005\n" in text
    assert yaml.safe_load(text)["optimizer"]["lr"] == 0.0005
    # It loads again as it is, and a branch of the run takes its history along, up to its step.
    branch = ("run/config.yaml", "--resume", "run/checkpoints/step_4", "--training.steps", "5")
    done = tool("train.py", *branch, "--out", "branch")
    assert done.returncode == 0, done.stderr
    assert [(one.step, one.setting) for one in changes(tmp_path / "branch")] == [
        *((one.step, one.setting) for one in kept[:3]),
        *((5, "data.workers"), (5, "training.steps")),
    ]
    assert steps_in(tmp_path / "branch") == [5]


def test_a_change_that_no_checkpoint_has_seen_is_taken_back(tool, small_run, tmp_path):
    """As after a kill right after the resume: config.yaml is newer than the newest checkpoint."""
    tool("train.py", *small_run, *TWO_STEPS)
    higher = tool("train.py", *small_run, *TWO_STEPS, "--training.steps", "4")
    assert higher.returncode == 0, higher.stderr
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step_4")
    again = tool("train.py", *small_run, *TWO_STEPS, "--training.steps", "3")
    assert again.returncode == 0, again.stderr
    assert [(one.setting, one.new) for one in changes(tmp_path / "run")] == [("training.steps", 3)]


def test_data_may_move_but_not_become_other_data(tool, small_run, small_shapes, tmp_path):
    share = (*small_run, "--data.eval_split", "share", "--training.steps")
    assert tool("train.py", *share, "2", "--out", "run").returncode == 0
    shutil.copytree(small_shapes, tmp_path / "moved")
    moved = tool("train.py", *share, "3", "--data.root", "moved", "--out", "run")
    assert moved.returncode == 0, moved.stderr
    assert f"data.root {small_shapes} -> moved" in moved.stdout
    lists = tmp_path / "moved" / "ImageSets" / "Main" / "trainval.txt"
    division = json.loads((tmp_path / "run" / "division.json").read_text())
    lists.write_text("\n".join(sorted(division["train"][1:] + division["eval"])) + "\n")
    fewer = tool("train.py", *share, "4", "--data.root", "moved", "--out", "run")
    assert fewer.returncode == 0, fewer.stderr
    assert "changed   training.steps 3 -> 4\n          images to train on 19 -> 18" in fewer.stdout
    before = state_of(tmp_path / "run")
    other = tool("train.py", *share, "5", "--out", "run")
    assert other.returncode == 2
    assert "other images: 18 of data.root moved, but 19 of" in other.stderr
    after = state_of(tmp_path / "run")
    assert after.pop(tmp_path / "run" / "image_headers.json")
    assert after.items() <= before.items()


def test_a_branch_keeps_the_images_that_were_held_out(tool, small_run, small_shapes, tmp_path):
    """The data has grown, so that another draw would train on some of them."""
    data = shutil.copytree(small_shapes, tmp_path / "data")
    lists = data / "ImageSets" / "Main" / "trainval.txt"
    names = lists.read_text().splitlines(keepends=True)
    lists.write_text("".join(names[:10]))
    flags = (*small_run, "--data.root", data, "--data.eval_split", "share")
    assert tool("train.py", *flags, "--training.steps", "2", "--out", "run").returncode == 0
    lists.write_text("".join(names))
    branch = ("--resume", "run/checkpoints/step_2", "--training.steps", "3", "--out", "branch")
    done = tool("train.py", *flags, *branch)
    assert done.returncode == 0, done.stderr
    assert "images to train on 8 -> " in done.stdout
    first, second = (
        json.loads((tmp_path / name / "division.json").read_text()) for name in ("run", "branch")
    )
    assert set(first["eval"]) <= set(second["eval"])
    assert set(first["train"]) <= set(second["train"])
    alone = shutil.copytree(tmp_path / "run" / "checkpoints" / "step_2", tmp_path / "alone")
    branch = ("--resume", alone, "--training.steps", "3", "--out", "third")
    refused = tool("train.py", *flags, *branch)
    assert refused.returncode == 2
    assert "was trained on other images: 8 of data.root" in refused.stderr
    assert not (tmp_path / "third" / "config.yaml").exists()


def test_default_boxes_are_fitted_once_and_kept(tool, small_run, tmp_path):
    """A resumed run keeps them, although its images could have changed."""
    command = ("train.py", *small_run, "--model.fit_boxes", "true", "--out", "run")
    first = tool(*command, "--training.steps", "2")
    assert first.returncode == 0, first.stderr
    assert "\nboxes     fitted: " in first.stdout
    of_run = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]
    assert of_run["box_sizes"] is not None
    again = tool(*command, "--training.steps", "4")
    assert again.returncode == 0, again.stderr
    assert "fitted" not in again.stdout
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"] == of_run
    judged = tool("evaluate.py", "run")
    assert judged.returncode == 0, judged.stderr


def test_settings_that_do_nothing_or_harm_are_told(tool, mistaken, small_run, tmp_path):
    told = mistaken("train.py", *small_run, "--model.freeze", "backbone", "--out", tmp_path / "x")
    assert "its random weights would stay: give model.weights" in told
    sizes = ("--model.fit_boxes", "true", "--model.box_sizes", "[8,16,32,64,90]")
    done = tool("train.py", *small_run, *sizes, "--training.steps", "1", "--out", "given")
    assert "model.fit_boxes has nothing to do" in done.stdout


def test_chosen_weights_are_named_and_fetched_once(
    small_run, repository, tmp_path, monkeypatch, capfd
):
    name = get_weight(IMAGENET["mobilenet_v3_large"]).url.rsplit("/", 1)[-1]
    cached = tmp_path / "hub" / "checkpoints" / name
    cached.parent.mkdir(parents=True)
    torch.save(mobilenet_v3_large(weights=None).state_dict(), cached)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("ssd.model.automatic.check_digest", lambda file: None)
    network = ("--model.backbone", "mobilenet_v3_large", "--model.weights", "auto")
    run = tmp_path / "run"

    def told(steps):
        command = [repository / "tools" / "train.py", *small_run, *network, "--out", run]
        monkeypatch.setattr(sys, "argv", [*map(str, command), "--training.steps", steps])
        with pytest.raises(SystemExit, match="0"):
            runpy.run_path(sys.argv[0], run_name="__main__")
        return capfd.readouterr().out

    assert f"\nweights   {cached} (the backbone)" in told("2")
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["weights"] == str(cached)
    cached.unlink()
    assert "fetching" not in told("4")
