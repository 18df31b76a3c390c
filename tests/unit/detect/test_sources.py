"""Names of the images to predict and of their drawn copies."""

from pathlib import Path

import pytest

from ssd.common.errors import UserError
from ssd.detect.sources import find_sources


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
    sources = find_sources(given, recursive, Path(out))
    return [(one.place, one.image_id, one.drawn.as_posix()) for one in sources]


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
    files("in/a.jpg", "in/v.doc", "in/._a.jpg", "in/.hidden/b.jpg", "in/notes.txt")
    assert [each[1] for each in named("in")] == ["a"]
    assert [each[1] for each in named("in/v.doc")] == ["v"]


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
    files("in/v.doc", "in/sub/a.jpg")
    with pytest.raises(UserError, match=r"no image in in: .*--recursive"):
        named("in", recursive=False)
    with pytest.raises(UserError, match="nowhere.jpg: there is no such file"):
        named("in", "nowhere.jpg")
    with pytest.raises(UserError, match=r"in/\*\.png: no file matches"):
        named("in/*.png")


def test_videos_streams_and_pipes_have_names_too(files):
    files("in/clip.MP4", "in/clip.jpg", "other/a.mkv")
    assert named(
        "in", "other/a.mkv", "-", "camera:0", "rtsp://me:secret@host:554/live/1?key=2"
    ) == [
        ("-", "stdin", "stdin"),
        ("camera:0", "camera_0", "camera_0.mp4"),
        ("rtsp://me:secret@host:554/live/1?key=2", "host_live_1", "host_live_1.mp4"),
        ("in/clip.MP4", "clip.MP4", "clip.mp4"),
        ("in/clip.jpg", "clip.jpg", "clip.jpg"),
        ("other/a.mkv", "a", "a.mp4"),
    ]
    told = map(str, find_sources(["http://me:secret@host/x?key=2", "-"], False, Path("out")))
    assert list(told) == ["http://host/x", "standard input"]


def test_a_video_without_a_suffix_is_seen_by_its_first_bytes(tmp_path):
    starts = {"a": b"\0\0\0 ftypisom", "b": b"RIFF\1\2\3\4AVI LIST", "c": b"RIFF\1\2\3\4WEBPVP8 "}
    for name, start in starts.items():
        Path(name).write_bytes(start)
    assert [one.kind for one in find_sources([*starts], False, Path("out"))] == [
        "video",
        "video",
        "picture",
    ]


def test_patterns_that_the_shell_left_alone(files):
    files("in/b.jpg", "in/a.jpg", "in/sub/c.jpg", "in/x[1].jpg", "in/out/a.jpg")
    assert [each[1] for each in named("in/[ab].jpg")] == ["a", "b"]
    assert [each[1] for each in named("in/x[1].jpg")] == ["x[1]"]  # a name comes first
    assert [each[1] for each in named("in/**/*.jpg", out="in/out")] == ["a", "b", "c", "x[1]"]


def test_no_picture_has_the_name_of_a_frame(files):
    files("clip.mp4", "x/clip/000001.jpg", "y/000001.jpg")
    with pytest.raises(UserError, match="a frame of a video has the same name"):
        named("clip.mp4", "x", "y")
