import json

import pytest

from ssd.commands.compare import comparison, main
from ssd.common.errors import UserError
from ssd.run.rows import format_row
from ssd.steps import EvaluationRow


@pytest.fixture
def run(tmp_path, step_row):
    """Writes a run folder with its rows and its evaluation."""

    def write(name, scores, metric="voc_area", per_class=None, **more):
        folder = tmp_path / name
        folder.mkdir()
        rows = []
        for step, score in enumerate(scores, start=1):
            rows += [step_row(step=step, num_images=8), EvaluationRow(step, 0, metric, score, {})]
        (folder / "metrics.jsonl").write_bytes(b"".join(map(format_row, rows)))
        content = {"metric": metric, "mAP": scores[-1], "per_class": per_class or {"cat": 0.5}}
        content |= more
        (folder / "evaluation.json").write_text(json.dumps(content))
        return folder

    return write


def cells(text):
    return {line.split("  ")[0].strip(): line.split()[-4:] for line in text.splitlines()}


def test_the_runs_stand_side_by_side(run):
    one = run("one", [0.2, 0.625, 0.5], per_class={"cat": 0.5, "dog": None})
    other = run("other", [0.25], per_class={"cat": 0.25})
    table = cells(comparison([one, other]))
    assert table["steps"][-2:] == ["3", "1"]
    assert table["images seen"][-2:] == ["24", "8"]
    assert table["best mAP"][-4:] == ["62.5", "%", "25.0", "%"]
    assert table["mAP (voc_area)"][-4:] == ["50.0", "%", "25.0", "%"]
    assert table["cat"][-4:] == ["50.0", "%", "25.0", "%"]
    assert table["dog"][-2:] == ["–", "–"]


def test_runs_on_different_images_are_told(run):
    one, other, third = (
        run(name, [0.2], split="val", num_images=9, num_ground_truth={"cat": cats})
        for name, cats in (("one", 4), ("other", 4), ("third", 5))
    )
    alike, unlike = comparison([one, other]), comparison([one, third])
    assert cells(alike)["evaluated on"][-3:] == ["images", "of", "val"]
    assert "do not compare" not in alike
    assert "evaluated on different images or classes" in unlike
    older = comparison([one, run("older", [0.2])])
    assert cells(older)["evaluated on"][-1] == "–"
    assert "do not compare" not in older
    held_out = run(
        "held out", [0.2], split="share", step=1200, num_images=9, num_ground_truth={"cat": 4}
    )
    assert cells(comparison([held_out]))["evaluated at step"][-1] == "1,200"
    assert cells(comparison([held_out]))["evaluated on"][-4:] == ["9", "images", "held", "out"]


def test_runs_that_are_measured_differently_are_refused(run):
    with pytest.raises(UserError, match="coco and voc_area"):
        comparison([run("one", [0.2]), run("other", [0.2], metric="coco")])


def test_a_run_without_an_evaluation_is_told(tmp_path):
    with pytest.raises(UserError, match="ssd evaluate"):
        comparison([tmp_path])


def test_no_run_is_a_mistake():
    with pytest.raises(UserError, match="at least one run"):
        main([])
