"""Names of the images to predict and of their drawn copies."""

from pathlib import Path

import pytest

from ssd.common.errors import UserError
from ssd.detect.sources import image_sources


@pytest.fixture
def files(tmp_path):
    """Makes empty files below the current folder; returns their names."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return names

    return make


def named(*given, recursive=True, out="out"):
    sources = image_sources([Path(one) for one in given], recursive, Path(out))
    return [(str(one.path), one.image_id, one.drawn.as_posix()) for one in sources]


def test_stems_name_files_that_differ_and_copies_keep_their_subfolders(files):
    files("in/a b.jpg", "in/sub/Straße ü.PNG", "in/sub/deep/c.bmp")
    assert named("in") == [
        ("in/a b.jpg", "a b", "a b.jpg"),
        ("in/sub/Straße ü.PNG", "Straße ü", "sub/Straße ü.jpg"),
        ("in/sub/deep/c.bmp", "c", "sub/deep/c.jpg"),
    ]
    assert named("in", recursive=False) == [("in/a b.jpg", "a b", "a b.jpg")]


def test_one_name_in_two_subfolders(files):
    files("in/one/a.jpg", "in/two/a.jpg", "in/two/b.jpg")
    assert [each[1:] for each in named("in")] == [
        ("one/a", "one/a.jpg"),
        ("two/a", "two/a.jpg"),
        ("b", "two/b.jpg"),
    ]


def test_one_name_in_two_folders_and_one_stem_of_two_suffixes(files):
    files("p/a.jpg", "q/a.jpg", "q/b.jpg", "q/b.png", "q/b.png.jpg")
    assert [each[1:] for each in named("p", "q")] == [
        ("p/a", "p/a.jpg"),
        ("q/a", "q/a.jpg"),
        ("b.jpg", "b.jpg.jpg"),
        ("q/b", "q/b.jpg"),
        ("b.png", "b.png.jpg.jpg"),
    ]


def test_files_by_name(files):
    files("p/a.jpg", "q/a.jpg", "q/c.jpg")
    assert named("p/a.jpg", "q/a.jpg", "q/c.jpg", "q/../q/c.jpg", "q") == [
        ("p/a.jpg", "p/a", "p/a.jpg"),
        ("q/a.jpg", "q/a", "q/a.jpg"),
        ("q/c.jpg", "c", "c.jpg"),
    ]


def test_names_are_composed_and_unambiguous_for_any_set_of_files(files):
    files("in/u\u0308.jpg", "in/x.jpg", "in/x.jpg.jpg", "in/s/x.jpg", "in/s/s/x.jpg", "s/x.jpg")
    found = named("in", "s")
    assert found[-2][1:] == ("ü", "ü.jpg") or ("in/u\u0308.jpg", "ü", "ü.jpg") in found
    for column in (1, 2):
        names = [each[column] for each in found]
        assert len(set(names)) == len(found) == 6


def test_what_is_no_image_in_a_folder_is_no_input_but_a_named_file_is(files):
    files("in/a.jpg", "in/v.mp4", "in/._a.jpg", "in/.hidden/b.jpg", "in/notes.txt")
    assert [each[1] for each in named("in")] == ["a"]
    assert [each[1] for each in named("in/v.mp4")] == ["v"]


def test_copies_of_an_earlier_call_are_no_input(files):
    files("in/a.jpg", "in/out/a.jpg")
    assert len(named("in", out="in/out")) == 1
    assert len(named("in/out", out="in/out")) == 1


def test_a_link_to_a_folder_above_ends(files, tmp_path):
    files("in/a.jpg", "other/b.jpg")
    (tmp_path / "in/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/other").symlink_to(tmp_path / "other")
    assert [each[2] for each in named("in")] == ["a.jpg", "other/b.jpg"]


def test_no_image_and_no_file_are_mistakes_of_the_call(files):
    files("in/v.mp4", "in/sub/a.jpg")
    with pytest.raises(UserError, match=r"no image in in: .*--recursive"):
        named("in", recursive=False)
    with pytest.raises(UserError, match="nowhere.jpg: there is no such file"):
        named("in", "nowhere.jpg")
