"""tools/spikes.py as a user runs it, and the watch in a training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    *("--full-steps", "3", "--training.epochs", "5", "--training.batch_size", "8"),
    *("--model.input_size", "96", "--training.device", "cpu", "--remainders", "2"),
    *("--training.precision", "fp32"),
]
FEW_TEST_PICTURES = "import ssd.experiment.scenario as s; s.NUM_TEST = 4"
ARMS = ["reported", "drop_last", "clipped", "rescaled", "step_positives", "share"]


@pytest.fixture(scope="module")
def spikes(tool, tmp_path_factory):
    """Runs the experiment as small as it gets, always in the same folder."""
    folder = tmp_path_factory.mktemp("spikes")

    def run(*arguments):
        flags = (*TINY, "--data.root", folder / "drawn", "--out", folder / "out", *arguments)
        return tool("spikes.py", *flags, timeout=300, prepare=FEW_TEST_PICTURES)

    return run


@pytest.fixture(scope="module")
def experiment(spikes):
    """What two runs of the experiment printed, the second after the first, and their folder."""
    first, second = spikes(), spikes()
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    report = first.stdout.splitlines()[-1]
    return Path(report.removeprefix("report: ")).parent, first.stdout, second.stdout


def losses(out, name):
    lines = (out / "runs" / name / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    return [row["loss_under"]["step_positives"] for row in rows]


def test_the_experiment_writes_all_that_is_promised(experiment):
    out, told, _ = experiment
    assert {"runs", "spikes.html", "spikes.json", "spikes.png"} == {p.name for p in out.iterdir()}
    results = json.loads((out / "spikes.json").read_text())
    names = [f"{arm}{x}_r2_seed0" for x in ("", "_x2") for arm in ARMS]
    assert [run["name"] for run in results["runs"]] == names
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(names)
    assert [row["arm"] for row in results["table"]] == ARMS * 2
    expected = {run["name"]: run["expected_ratio"] for run in results["runs"]}
    assert expected["reported_r2_seed0"] == 4.0
    assert expected["reported_x2_r2_seed0"] == 2.0
    assert expected["step_positives_r2_seed0"] == 1.0
    assert results["trajectory"]["distances"].keys() == results["runs"][0]["ratio_under"].keys() | {
        "step_positives"
    }
    assert "run 12 of 12" in told
    assert ["clipped", "2", "2", "1/1"] in [line.split()[:4] for line in told.splitlines()]


def test_runs_that_are_finished_are_not_repeated(experiment):
    _, _, again = experiment
    assert "run 1 of 12" not in again
    assert "report:" in again


def test_some_arms_without_accumulation_have_a_page_of_their_own(experiment, spikes, tmp_path):
    """Their runs are those of the whole experiment: nothing is trained again."""
    done = spikes("--arms", "share", "drop_last", "--accumulate", "1")
    assert done.returncode == 0, done.stderr
    assert "run 1 of" not in done.stdout
    results = json.loads((experiment[0] / "spikes.json").read_text())
    assert [(row["arm"], row["accumulate"]) for row in results["table"]] == [
        ("drop_last", 1),
        ("share", 1),
    ]
    assert spikes().returncode == 0  # and back again


def test_until_the_first_short_step_all_arms_are_the_same_run(experiment):
    """The effective learning rate on full batches is the same; the short batch tells them apart."""
    out, _, _ = experiment
    ours = losses(out, "step_positives_r2_seed0")
    for arm in ("reported", "rescaled"):
        theirs = losses(out, f"{arm}_r2_seed0")
        assert theirs[:3] == pytest.approx(ours[:3], rel=1e-3)
    assert losses(out, "reported_r2_seed0")[4] != pytest.approx(ours[4], rel=1e-3)


def test_other_settings_need_another_folder(experiment, spikes):
    done = spikes("--optimizer.lr", "0.5")
    assert done.returncode == 2
    assert "other settings" in done.stderr


def test_a_run_is_explained_in_words_figures_and_pictures(experiment, tool, tmp_path):
    out, _, _ = experiment
    done = tool("spikes.py", "--explain", out / "runs" / "reported_r2_seed0", "--out", "told")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told" / "spikes.json").read_text())
    assert told["sentence"] in done.stdout
    assert (tmp_path / "told" / "spikes.html").stat().st_size > 10_000


def test_a_bare_column_of_losses_is_explained_without_torch(repository, tmp_path):
    losses = [1 + 0.1 * (step % 7) + 15 * (step % 20 == 19) for step in range(200)]
    (tmp_path / "losses.txt").write_text("\n".join(map(str, losses)))
    script = (
        "import runpy, sys\nsys.modules['torch'] = None\n"
        "sys.argv[0:1] = []\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", script, str(repository / "tools/spikes.py")]
    command += ["--explain", "losses.txt", "--steps-per-epoch", "20", "--batch-size", "16"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "every 20 steps" in done.stdout
    assert "short last batch of about 1 image" in done.stdout
    assert (tmp_path / "runs" / "explained_losses.txt" / "spikes.html").exists()


MISTAKES = {
    "no such file": (["--explain", "nothing.csv"], "nothing.csv"),
    "a preset that is not there": (["--preset", "tiny"], "question"),
    "a typo": (["--remaindr", "4"], "--remaindr"),
    "a full batch for the short one": (["--remainders", "16"], "1 to 15"),
    "a flag of the explanation": (["--batch-size", "8"], "needs --explain"),
    "a flag of the experiment": (["--explain", "losses.txt", "--seeds", "3"], "--seeds cannot"),
    "a setting for a log": (["--explain", "losses.txt", "--training.seed", "3"], "trains nothing"),
    "a setting of the arms": (["--training.seed", "3"], "training.seed"),
    "a word for a seed": (["--seeds", "one"], "seeds"),
    "no steps": (["--explain", "losses.txt", "--steps-per-epoch", "0"], "steps per epoch"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistaken, tmp_path, mistake):
    (tmp_path / "losses.txt").write_text("1\n2\n3\n")
    arguments, told = MISTAKES[mistake]
    error = mistaken("spikes.py", *arguments)
    assert told in error
    assert error.count("\n") == 1


def test_the_watch_speaks_in_a_training_with_the_defect(tool, small_run):
    defect = ["--training.batch_size", "7", "--loss.divisor", "batch_positives_and_size"]
    rest = ["--training.epochs", "8", "--evaluation.every_epochs", "0", "--optimizer.lr", "0.0001"]
    done = tool("train.py", *small_run, *defect, *rest, "--out", "run")
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert len(told) == 1
    assert "3 images instead of 7" in told[0]


@pytest.mark.parametrize(("lr", "count"), [("2", 2), ("0.02", 0)])
def test_a_loss_that_runs_away_is_told_while_it_is_finite(tool, small_run, tmp_path, lr, count):
    """A hundred times the learning rate of the experiment; the end repeats the warning."""
    flags = ("--optimizer.name", "sgd", "--optimizer.lr", lr, "--training.steps", "60")
    rest = ("--evaluation.every_epochs", "0", "--out", "run")
    done = tool("train.py", *small_run, *flags, *rest)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning: the loss has run away: ") == count
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    assert not any(row["skipped"] for row in rows)
