"""What a finished run says of itself."""

import math

import pytest

from ssd.run.rows import format_row
from ssd.steps import EvaluationRow
from ssd.training.last_words import last_words


def written(run_dir, *scores):
    """A run folder with an evaluation and a checkpoint after every tenth step."""
    with (run_dir / "metrics.jsonl").open("wb") as file:
        for number, score in enumerate(scores, start=1):
            file.write(format_row(EvaluationRow(10 * number, number - 1, "voc07", score, {})))
            (run_dir / "checkpoints" / f"step_{10 * number}").mkdir(parents=True)
    return run_dir


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ([0.25, 0.5, 0.125], [("best", 0.5, 20), ("last", 0.125, 30)]),
        ([0.25, 0.5], [("best", 0.5, 20)]),
        ([0.5, 0.5], [("best", 0.5, 20)]),
        ([math.nan, 0.5, math.nan], [("best", 0.5, 20), ("last", math.nan, 30)]),
        ([math.nan], [("last", math.nan, 10)]),
    ],
)
def test_best_and_last_score_are_told_with_their_checkpoints(tmp_path, scores, told):
    run_dir = written(tmp_path, *scores)
    *first, _, _, _ = last_words(run_dir).splitlines()
    assert first == [
        f"{name:<10}mAP {score:.4f} at step {step}: {run_dir}/checkpoints/step_{step}"
        for name, score, step in told
    ]


def test_the_next_commands_can_be_pasted(tmp_path):
    run_dir = tmp_path / "my run"
    run_dir.mkdir()
    *_, report, evaluate, predict = last_words(written(run_dir, 0.5)).splitlines()
    assert report == f"report    {run_dir}/report.html"
    assert evaluate == f"next      ssd evaluate '{run_dir}'"
    assert predict == f"          ssd predict '{run_dir}' IMAGES"


def test_a_run_that_is_never_evaluated_names_its_checkpoint(tmp_path):
    (tmp_path / "checkpoints" / "step_7").mkdir(parents=True)
    assert last_words(tmp_path).splitlines() == [
        f"last      {tmp_path}/checkpoints/step_7",
        f"report    {tmp_path}/report.html",
        f"next      ssd predict {tmp_path} IMAGES",
    ]
