"""A file is found by any usual way to write its name, and nothing outside the root is found."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.data import names
from ssd.data.names import IMAGE_SUFFIXES, FileIndex, image_ids


def put(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return FileIndex(root, IMAGE_SUFFIXES)


def found(index, text, *folders):
    result = index.find(text, [index.root / folder for folder in folders])
    return result and (result.path.relative_to(index.root).as_posix(), result.repair)


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ("my photo 1", None),
        ("my photo 1.jpg", None),
        ("JPEGImages/my photo 1.jpg", None),
        ("./JPEGImages//my photo 1", None),
        ("../JPEGImages/my photo 1", None),
        ("MY Photo 1", "name spelled otherwise"),
        ("jpegimages/my photo 1.JPG", "name spelled otherwise"),
        (r"JPEGImages\my photo 1.jpg", "name spelled otherwise"),
        ("my photo 1.png", "name spelled otherwise"),
        (r"C:\Users\me\my photo 1.jpg", "path of another machine"),
        ("/home/me/JPEGImages/MY PHOTO 1.jpg", "path of another machine"),
        ("file:///home/me/my photo 1.jpg", "path of another machine"),
        (r"\\server\my photo 1.jpg", "path of another machine"),
        ("../../elsewhere/my photo 1", "path from another folder"),
        ("data/obj_train_data/my photo 1.jpg", "path from another folder"),
        (r"data\train\my photo 1.jpg", "path from another folder"),
    ],
)
def test_a_file_is_found_by_any_spelling(tmp_path, text, repair):
    index = put(tmp_path, "JPEGImages/my photo 1.jpg", "JPEGImages/my photo 2.jpg", "x/b.jpg")
    assert found(index, text, "JPEGImages") == ("JPEGImages/my photo 1.jpg", repair)


def test_composed_and_decomposed_letters_are_the_same(tmp_path):
    name = "Straße_ü"
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    index = put(tmp_path, f"{decomposed}.jpg")
    assert found(index, composed) == (f"{decomposed}.jpg", "name spelled otherwise")
    assert found(index, decomposed) == (f"{decomposed}.jpg", None)
    index = put(tmp_path, f"{composed}.jpg")
    assert found(index, composed) == (f"{composed}.jpg", None)


def test_an_absolute_path_below_the_root_is_no_repair(tmp_path):
    index = put(tmp_path, "images/a.jpg")
    assert found(index, str(tmp_path / "images/a.jpg")) == ("images/a.jpg", None)


def test_the_longest_tail_decides(tmp_path):
    index = put(tmp_path, "train/cam1/a.jpg", "train/cam2/a.jpg", "val/cam1/b.jpg")
    other = "path of another machine"
    assert found(index, r"D:\set\train\cam2\a.jpg") == ("train/cam2/a.jpg", other)
    assert found(index, r"D:\set\cam1\a.jpg") == ("train/cam1/a.jpg", other)
    assert found(index, "b.jpg") == ("val/cam1/b.jpg", "name without its folder")
    with pytest.raises(ValueError, match=r"may be train/cam1/a.jpg or train/cam2/a.jpg"):
        found(index, "a.jpg")


def test_a_bare_name_is_not_taken_from_other_folders(tmp_path):
    index = put(tmp_path, "SegmentationClass/a.png", "VOC2012/JPEGImages/b.jpg", "JPEGImages/c.jpg")
    assert found(index, "a", "JPEGImages") is None
    assert found(index, "/elsewhere/b.jpg", "JPEGImages") is None
    index = put(tmp_path, "JPEGImages/cam1/d.jpg")
    assert found(index, "cam2/d", "JPEGImages") is None
    assert found(index, "d", "JPEGImages") == ("JPEGImages/cam1/d.jpg", names.WITHOUT_FOLDER)


def test_nearer_folders_come_first(tmp_path):
    index = put(tmp_path, "A/images/x.jpg", "B/images/x.jpg", "x.jpg")
    assert found(index, "x", "B/images", "A/images") == ("B/images/x.jpg", None)
    assert found(index, "images/x", "B/images") == ("B/images/x.jpg", None)
    assert found(index, "X", "B/images") == ("B/images/x.jpg", "name spelled otherwise")
    assert found(index, "/old/images/x", "B/images") == (
        "B/images/x.jpg",
        "path of another machine",
    )
    assert found(index, "x") == ("x.jpg", None)


def test_two_files_of_one_stem_are_told(tmp_path):
    index = put(tmp_path, "a.jpg", "a.png", "B.jpg", "b.jpg", "xY.jpg", "Xy.jpg")
    assert found(index, "a.png") == ("a.png", None)
    assert found(index, "b") == ("b.jpg", None)
    with pytest.raises(ValueError, match=r"'a' may be a\.jpg or a\.png.*rename or remove"):
        found(index, "a")
    assert found(index, r"D:\b.jpg") == ("b.jpg", "path of another machine")
    with pytest.raises(ValueError, match=r"may be Xy\.jpg or xY\.jpg"):
        found(index, "xy")


@pytest.mark.parametrize("text", ["", "..", "/", "a\0b", "/etc/passwd", "x" * 5000, "a/" * 3000])
def test_nothing_else_is_found(tmp_path, text):
    assert found(put(tmp_path, "images/b.jpg"), text, "images") is None


def test_hidden_files_and_other_suffixes_are_not_listed(tmp_path):
    index = put(tmp_path, "._a.jpg", ".git/a.jpg", "__MACOSX/a.jpg", "a.txt", "b/a.jpg", "c.JPG")
    assert index.below(tmp_path) == [tmp_path / "b/a.jpg", tmp_path / "c.JPG"]
    assert index.below(tmp_path / "b") == [tmp_path / "b/a.jpg"]
    assert FileIndex(tmp_path / "nowhere", IMAGE_SUFFIXES).below(tmp_path / "nowhere") == []


def test_linked_folders_are_listed_and_lead_no_further(tmp_path):
    put(tmp_path / "else", "inner/a.jpg")
    put(tmp_path / "secret", "s.jpg")
    root = tmp_path / "root"
    put(root, "pool/p.jpg")
    (root / "images").mkdir()
    (root / "images/val").symlink_to(tmp_path / "else")
    (tmp_path / "else/sub").symlink_to(tmp_path / "secret")
    (tmp_path / "else/back").symlink_to(root / "pool")
    (root / "pool/up").symlink_to(root)
    (root / "pool/self").symlink_to("self")
    index = FileIndex(root, IMAGE_SUFFIXES)
    listed = [path.relative_to(root).as_posix() for path in index.below(root)]
    assert listed == ["images/val/back/p.jpg", "images/val/inner/a.jpg", "pool/p.jpg"]
    with pytest.raises(ValueError, match=r"val/sub links to .*secret, outside the data"):
        found(index, "sub/s.jpg", "images/val")


def test_a_linked_file_stays_in_the_data(tmp_path):
    put(tmp_path, "secret.jpg")
    put(tmp_path / "root", "pool/p.jpg")
    (tmp_path / "root/in.jpg").symlink_to("pool/p.jpg")
    (tmp_path / "root/out.jpg").symlink_to(tmp_path / "secret.jpg")
    index = FileIndex(tmp_path / "root", IMAGE_SUFFIXES)
    assert found(index, "in") == ("in.jpg", None)
    for text in ("out", "OUT.jpg", "/old/out.jpg"):
        with pytest.raises(ValueError, match=r"out\.jpg links to .*secret\.jpg, outside the data"):
            found(index, text)


def test_images_that_share_a_stem_are_named_by_their_paths(tmp_path):
    files = ["a/x.jpg", "b/x.jpg", "b/y.jpg", "z.v2.jpg", "q.jpg", "q.png", "e\u0301/x.jpg"]
    ids = image_ids(tmp_path, [tmp_path / file for file in files])
    assert ids == ["a/x", "b/x", "y", "z.v2", "q.jpg", "q.png", "\u00e9/x"]
    assert image_ids(tmp_path / "a", [tmp_path / file for file in files[:2]])[0] == "x"


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "MOST_FILES", 3)
    with pytest.raises(UserError, match=r"more than 3 files.*set data\.root"):
        put(tmp_path, *(f"{number}.jpg" for number in range(4)))


SEGMENT = st.sampled_from(["a", "b", "c d", "é", "img.v2", "x"])
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)


@settings(max_examples=200, deadline=None)
@given(st.sets(PATHS, min_size=1, max_size=8), st.data())
def test_each_file_is_found_by_its_path_however_it_is_written(tmp_path_factory, paths, data):
    root = tmp_path_factory.mktemp("set")
    paths = [f"images/{path}.jpg" for path in paths]
    index = put(root, *paths)
    path = data.draw(st.sampled_from(paths))
    text = path[: -len(data.draw(st.sampled_from(["", ".jpg"]))) or None]
    assert found(index, text) == (path, None)
    for change in data.draw(st.permutations([str.upper, decompose, windows, abroad])):
        text = change(text)
    assert found(index, text) == (path, "path of another machine")


def decompose(text):
    return unicodedata.normalize("NFD", text)


def windows(text):
    return text.replace("/", "\\")


def abroad(text):
    return f"Z:\\somewhere\\{text}"
