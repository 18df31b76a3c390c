"""Logs of other people's trainers that once were refused or misread, and what becomes of them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.spikes.explain import explain
from ssd.spikes.explained import explain_run, folder_of
from ssd.spikes.read import read_log, read_logs


class Read(NamedTuple):
    """What is known of a log: rows, last step, steps of a pass, its first step, and how surely."""

    rows: int
    last: int
    length: int | None
    first: int | None
    exact: bool = True
    window: int | str | None = None


ONE_RUN = {
    "every50_and_last_refused/iter50last_517": Read(438, 20_613, 517, 1),
    "fixed_order_found/cisc2_3000": Read(3000, 12_000, None, 1),
    "fractional_epochs/hf_cognidet": Read(120, 600, 346, 1, exact=False),  # 346.5
    "fractional_epochs/hf_mt5az": Read(700, 7000, 3137, 1),
    "fractional_epochs/hf_viettel": Read(1028, 1028, 1028, 1),
    "iter_every50_wrong_place/mmdet_500_50": Read(412, 20_600, 500, 1, exact=False),
    "keras_running_mean_stairs/ajeje_part": Read(2569, 14_498, None, None, window="running"),
    "last_step_dropped_as_off_grid/tv_500_50": Read(454, 20_600, 500, 0),
    "mean10_wrong_cause/mean10_517": Read(2062, 20_620, None, 1),
    "mean10_wrong_cause/mean10_517_epoch": Read(2062, 20_620, 517, 1),
    "qlora_sawtooth/hf_qlora": Read(1000, 10_000, 412, 1, exact=False),  # 411.75
    "unshuffled_epochs_repeat/hf_luster": Read(81, 81, 27, 1),
    "unshuffled_epochs_repeat/hf_tanya": Read(112, 112, 28, 1),
}


@pytest.fixture
def log_of(case):
    return lambda name: case("logs") / f"{name}.csv"


@pytest.mark.parametrize("name", ONE_RUN)
def test_a_log_of_one_run(log_of, name):
    log = read_log(log_of(name))
    assert (log.run, log.note) == ("", "")
    found = len(log.steps), log.steps[-1], log.steps_per_epoch, log.first_step, log.exact
    assert Read(*found, log.window) == ONE_RUN[name]
    assert (np.diff(log.steps) > 0).all()


# Cause, period and height of each finding, by what the case says is right.
FOUND = {
    "every50_and_last_refused/iter50last_517": [("short_last_batch", 517, 4)],
    "fixed_order_found/cisc2_3000": [("fixed_order", 168, 1), ("unknown", 168, 2)],  # 42 steps of 4
    "fractional_epochs/hf_cognidet": [],
    "fractional_epochs/hf_mt5az": [],
    "fractional_epochs/hf_viettel": [],
    "iter_every50_wrong_place/mmdet_500_50": [("short_last_batch", 500, 4)],
    "keras_running_mean_stairs/ajeje_part": [("running_mean", 340, 0.96)],
    "last_step_dropped_as_off_grid/tv_500_50": [("short_last_batch", 500, 4)],
    "mean10_wrong_cause/mean10_517": [("short_last_batch", 517, 4)],
    "mean10_wrong_cause/mean10_517_epoch": [("short_last_batch", 517, 4)],
    "qlora_sawtooth/hf_qlora": [("epoch_drop", 411.7, 0.75), ("grouped_batches", 50, 1.43 / 0.56)],
    "unshuffled_epochs_repeat/hf_luster": [("fixed_order", 27, 0.95)],
    "unshuffled_epochs_repeat/hf_tanya": [("fixed_order", 28, 0.97)],
}


@pytest.mark.parametrize("name", FOUND)
def test_the_patterns_of_a_log_are_found(log_of, name):
    explanation = explain(read_log(log_of(name)))
    findings = explanation.findings
    assert [found.cause for found in findings] == [cause for cause, _, _ in FOUND[name]]
    for found, (cause, period, height) in zip(findings, FOUND[name], strict=True):
        assert found.period == pytest.approx(period, abs=found.slack + 0.1), cause
        assert found.height == pytest.approx(height, rel=0.1), cause
        assert found.p_value < 1e-3
    assert (explanation.cause == "too_short") == (not findings)


def test_with_the_length_given_nothing_is_refused(log_of):
    for name in ONE_RUN:
        log = read_log(log_of(name), steps_per_epoch=500)
        assert len(log.steps) == ONE_RUN[name].rows
        assert log.steps_per_epoch == 500


def test_one_row_per_epoch(log_of):
    with pytest.raises(UserError, match="has one row per epoch"):
        read_log(log_of("one_row_per_epoch_not_seen/pandas_mm_camp2_scalars"))


def test_the_runs_of_a_file_are_told_apart(log_of):
    logs = read_logs(log_of("resumed_runs/aocr_all"))
    lengths = [3, 4, 16, 1002, 554, 3202, 818, 101, 8, 101, 207]
    assert [len(log.steps) for log in logs] == lengths
    assert [log.run for log in logs] == [f"run {number}" for number in range(1, 12)]
    logs = read_logs(log_of("resumed_runs/d2_mine"))
    assert [len(log.steps) for log in logs] == [1, 13, 1, 1, 1, 101]


def test_passes_of_many_lengths_have_no_length_for_all(log_of):
    logs = read_logs(log_of("passes_invented/os2d"))
    assert sum(len(log.steps) for log in logs) == 3999
    assert {25, 50, 20, 148, 30} <= {log.steps_per_epoch for log in logs}


def table(path, rows=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("step,loss\n" + "".join(f"{step},1\n" for step in range(1, rows + 1)))
    return path


def test_pages_of_different_files_do_not_overwrite_each_other(tmp_path):
    paths = ["losses.csv", "losses.txt", "a/losses.csv", "b/losses.csv", "a/b/losses.csv"]
    paths += ["a b.csv", "a_b.csv", "a_losses.csv", "x" * 80 + "1", "x" * 80 + "2"]
    names = {folder_of(table(tmp_path / path)) for path in paths}
    assert len(names) == len(paths)
    explain_run(Path("losses.csv"))
    assert (tmp_path / "runs" / "explained_losses.csv" / "spikes.html").exists()


def test_each_run_of_a_file_has_a_page(tmp_path):
    path = table(tmp_path / "log.csv")
    path.write_text(path.read_text() + "1,5\n2,4\n3,3\n")
    text = explain_run(path)
    assert text.count("report: ") == 2
    assert text.startswith("run 1:\n")
    for number in (1, 2):
        found = tmp_path / "runs" / "explained_log.csv" / f"run_{number}" / "spikes.json"
        assert json.loads(found.read_text())["run"] == f"run {number}"
    assert explain_run(path, run="2", out=tmp_path / "out").count("report: ") == 1
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["run_2", "spikes.json"]


def test_too_many_runs_are_not_explained_at_once(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "1,1\n" * 30)
    with pytest.raises(UserError, match=r"has 30 runs.*--run"):
        explain_run(path)
    assert "run 30" in explain_run(path, run="30")
