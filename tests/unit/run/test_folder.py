import pytest

from ssd.run.folder import run_folder


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
