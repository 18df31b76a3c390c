import shutil
from collections import namedtuple

import pytest

from ssd.common.errors import UserError
from ssd.run import folder as module
from ssd.run.folder import MARKS, check_out, run_folder

MADE = {
    "a run": "environment.json",
    "predictions": "drawn.json",
    "a check of data": "data_check.json",
    "spikes": "spikes.json",
    "an evaluation": "evaluation.json",
}


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with run_folder(None) as one, run_folder(None) as two:
        assert one != two
        assert one.parent == two.parent
        (one / "config.yaml").touch()
    assert one.exists()
    assert not two.exists()  # nothing was written to it


def test_a_given_folder_is_left_as_it_is(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with run_folder(tmp_path / name) as folder:
            assert folder == tmp_path / name
    assert (tmp_path / "empty").exists()
    assert not (tmp_path / "new").exists()


def test_only_the_first_rank_makes_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    with run_folder(None):
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_an_error_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("")
    with pytest.raises(OSError, match="runs"), run_folder(None):
        pass


@pytest.mark.parametrize("kind", MARKS)
def test_results_go_to_a_new_an_empty_or_a_folder_of_their_own_kind(kind, tmp_path):
    out = tmp_path / "out"
    check_out(out, kind)
    assert not out.exists()
    out.mkdir()
    for harmless in (".DS_Store", "slurm-7.out", "train.log"):
        (out / harmless).touch()
    check_out(out, kind)
    (out / "report.html").touch()
    with pytest.raises(UserError, match=f"holds other files .report.html. and not {kind}: give"):
        check_out(out, kind)
    for other, name in MADE.items():
        (out / name).touch()
        if other == kind:
            check_out(out, kind)
        else:
            with pytest.raises(UserError, match=f"holds {other} and not {kind}: give"):
                check_out(out, kind)
        (out / name).unlink()


def test_a_run_is_one_whatever_else_it_holds(tmp_path):
    for name in ("evaluation.json", "spikes.json", "notes.txt", "config.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "checkpoints" / "step_6").mkdir(parents=True)
    check_out(tmp_path, "a run")
    with pytest.raises(UserError, match="holds a run"):
        check_out(tmp_path, "an evaluation")


def test_an_experiment_that_was_killed_in_its_first_run_goes_on(tmp_path):
    (tmp_path / "runs" / "reported_x2_r4_seed0").mkdir(parents=True)
    check_out(tmp_path, "spikes")


def test_no_results_go_to_the_data_into_it_or_above_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sets/a").mkdir(parents=True)
    (tmp_path / "link").symlink_to("sets")
    cases = [("sets/a", "sets/a"), ("sets", "sets/a"), ("link/a", "~/sets/a"), ("runs", ".")]
    for out, root in [*cases, ("sets/a/results", "sets/a"), (".", "sets"), ("new", "new/sets")]:
        with pytest.raises(UserError, match=r"would mix results with the data in data.root"):
            check_out(tmp_path / out, "a run", root)
    check_out(tmp_path / "sets/b", "a run", "sets/a")
    (tmp_path / "sets/a/results/checkpoints/step_1").mkdir(parents=True)
    check_out(tmp_path / "sets/a/results", "a run", "sets/a")  # a run that goes on


def test_a_place_that_will_not_do_is_told_before_anything_is_read(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for out in ("file", "file/deeper/run"):
        with pytest.raises(UserError, match=r"file is no folder: give another --out"):
            check_out(tmp_path / out, "a run")
    (tmp_path / "lost").symlink_to("nowhere")
    with pytest.raises(UserError, match="lost is no folder"):
        check_out(tmp_path / "lost", "a run")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(UserError, match="has 1 MB left, and 50 are needed"):
        check_out(tmp_path / "run", "a run")
    monkeypatch.undo()
    monkeypatch.setattr(module.os, "access", lambda place, how: False)  # root may always
    with pytest.raises(UserError, match="may not be written to"):
        check_out(tmp_path / "run", "a run")
