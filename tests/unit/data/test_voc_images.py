"""Which images and annotations a VOC data set has, and which of them belong together."""

import pytest

from ssd.common.errors import UserError
from ssd.data.findings import Collect, Refuse
from ssd.data.lists import read_lines, without_columns
from ssd.data.voc import annotate_voc
from ssd.data.voc_images import VocSplit, list_splits, own_split, unlisted_files

SIZE = "<size><width>40</width><height>30</height></size>"


def put(root, *files):
    """Makes files; an annotation has as many objects as its name has letters."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        item = f"<object><name>cat</name>{box}</object>" * len(path.stem)
        path.write_text(
            f"<annotation>{SIZE}{item}</annotation>" if path.suffix.lower() == ".xml" else ""
        )


def write_list(root, *lines, name="x"):
    path = root / f"ImageSets/Main/{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), "utf-8")


def read(root, *splits, background=False):
    """The images by id with their files, the repairs, and the messages of what is broken."""
    told = Collect()
    splits = [own_split(root, split) if isinstance(split, str) else split for split in splits]
    found = annotate_voc(root, splits, told, background)
    images = {one.image_id: one.path.relative_to(root).as_posix() for one in found.images}
    broken = [(one.kind, one.message) for one in told.findings if one.is_broken]
    return images, dict(found.repairs), broken, found


def side_by_side(root, *entries, folder="train"):
    return VocSplit(root / folder, root / folder, root / folder, entries)


def test_subfolders(tmp_path):
    put(tmp_path, *(f"JPEGImages/{name}.jpg" for name in ("c1/a", "c2/a", "c2/b")))
    put(tmp_path, *(f"Annotations/{name}.xml" for name in ("c1/a", "c2/a", "c2/b")))
    write_list(tmp_path, "c1/a", "c2/a.jpg", "c2/b")
    images, repairs, broken, found = read(tmp_path, "x")
    inside = {"JPEGImages/c1/a": "c1/a", "JPEGImages/c2/a": "c2/a", "b": "c2/b"}
    assert images == {key: f"JPEGImages/{name}.jpg" for key, name in inside.items()}
    assert [image.source.parent.name for image in found.images] == ["c1", "c2", "c2"]
    assert (repairs, broken) == ({}, [])


def test_images_and_annotations_side_by_side(tmp_path):
    put(tmp_path, "train/a.jpg", "train/a.xml", "train/b.PNG", "train/b.XML", "valid/a.jpg")
    images, repairs, broken, _ = read(tmp_path, side_by_side(tmp_path, "a", "train/b.XML"))
    assert images == {"a": "train/a.jpg", "b": "train/b.PNG"}
    assert (repairs, broken) == ({}, [])


def test_the_same_name_in_two_roots(tmp_path):
    for home in ("VOC2007", "VOC2012"):
        put(tmp_path, f"{home}/JPEGImages/1.jpg", f"{home}/Annotations/1.xml")
        write_list(tmp_path / home, "1")
    assert list_splits(tmp_path) == ["VOC2007/x", "VOC2012/x"]
    images, repairs, broken, _ = read(tmp_path, "VOC2007/x", "VOC2012/x")
    homes = [f"VOC20{year}/JPEGImages/1" for year in ("07", "12")]
    assert images == {home: f"{home}.jpg" for home in homes}
    assert (repairs, broken) == ({}, [])


def test_folders_outside_the_root(tmp_path):
    put(tmp_path, "pictures/a.jpg", "xml/a.xml")
    split = VocSplit(tmp_path / "pictures", tmp_path / "xml", tmp_path / "xml", ["a"])
    told = Refuse()
    found = annotate_voc(tmp_path / "root", [split], told)
    assert [image.image_id for image in found.images] == ["a"]


def test_an_annotation_may_name_its_image(tmp_path):
    put(tmp_path, "set/photo.jpg", "set/other.jpg")
    for number, text in enumerate(
        (
            "<filename>photo.jpg</filename>",
            r"<filename>?</filename><path>C:\me\other.jpg</path>",
            "<filename>gone.jpg</filename>",
        )
    ):
        (tmp_path / f"set/{number}.xml").write_text(f"<annotation>{text}{SIZE}</annotation>")
    split = side_by_side(tmp_path, "0.xml", "1", "2.xml", folder="set")
    images, repairs, broken, _ = read(tmp_path, split)
    assert images == {"photo": "set/photo.jpg", "other": "set/other.jpg"}
    assert repairs == {"image named by its annotation alone": 2}
    assert [kind for kind, _ in broken] == ["missing image"]
    assert "2.xml has no image in" in broken[0][1]


def test_an_annotation_belongs_to_one_image(tmp_path):
    put(tmp_path, "JPEGImages/c1/a.jpg", "JPEGImages/c2/a.jpg", "Annotations/c1/a.xml")
    put(tmp_path, "JPEGImages/b.jpg", "JPEGImages/B.jpg", "Annotations/b.xml")
    write_list(tmp_path, "c1/a", "c2/a", "b", "B")
    images, _, broken, _ = read(tmp_path, "x")
    assert list(images.values()) == ["JPEGImages/c1/a.jpg", "JPEGImages/b.jpg"]
    assert [kind for kind, _ in broken] == ["missing annotation"] * 2


def test_annotations_of_another_spelling_or_without_the_folder(tmp_path):
    put(tmp_path, "JPEGImages/c1/a.jpg", "Annotations/a.xml")
    put(tmp_path, "JPEGImages/Bee.jpg", "Annotations/bee.xml")
    write_list(tmp_path, "c1/a", "Bee")
    images, repairs, broken, found = read(tmp_path, "x")
    assert list(images) == ["a", "Bee"]
    assert [image.source.name for image in found.images] == ["a.xml", "bee.xml"]
    assert sum(repairs.values()) == 2
    assert broken == []


def test_problems_of_images_are_told_together(tmp_path):
    put(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/d.jpg", "JPEGImages/d.png")
    put(tmp_path, "Annotations/a.xml", "Annotations/b.xml", "Annotations/c.xml")
    (tmp_path / "Annotations/b.xml").write_text("<annotation>")
    put(tmp_path, "JPEGImages/e.jpg")
    write_list(tmp_path, "a", "b", "c", "d", "e")
    images, _, broken, _ = read(tmp_path, "x")
    assert list(images) == ["a"]
    kinds = ["broken annotation", "missing image", "ambiguous name", "missing annotation"]
    assert [kind for kind, _ in broken] == kinds
    assert all(": " in message and "\n" not in message for _, message in broken)


def test_an_image_without_annotation_is_background_where_that_was_asked_for(tmp_path):
    put(tmp_path, "JPEGImages/a.jpg", "JPEGImages/bb.jpg", "Annotations/bb.xml")
    write_list(tmp_path, "a", "bb")
    images, repairs, broken, found = read(tmp_path, "x", background=True)
    assert list(images) == ["a", "bb"]
    assert found.image_index.tolist() == [1, 1]
    assert (found.images[0].width, repairs, broken) == (0, {}, [])


def test_an_image_may_be_listed_twice_in_one_list_but_not_in_two(tmp_path):
    put(tmp_path, "JPEGImages/a.jpg", "Annotations/a.xml", "JPEGImages/b.jpg", "Annotations/b.xml")
    write_list(tmp_path, "a.jpg -1", "a.jpg 1", "b.jpg 1")
    write_list(tmp_path, "b", name="y")
    images, repairs, broken, _ = read(tmp_path, "x")
    assert list(images) == ["a", "b"]
    assert (repairs, broken) == ({"listed twice in one list": 1}, [])
    images, _, broken, _ = read(tmp_path, "x", "y")
    assert list(images) == ["a", "b"]
    assert [kind for kind, _ in broken] == ["listed twice"]
    images, _, broken, _ = read(tmp_path, "y", "y")
    assert (list(images), len(broken)) == (["b"], 1)


@pytest.mark.parametrize(
    ("lines", "images", "names"),
    [
        (["a", "b"], ["a", "b"], ["a", "b"]),
        (["my photo 1", "my photo 2"], ["my photo 1", "my photo 2"], ["my photo 1", "my photo 2"]),
        (["my photo 1", "b -1", "c  0"], ["my photo", "b", "c"], ["my photo", "b", "c"]),
        (["my photo 1", "my b -1"], ["my photo 1", "my photo", "my b"], ["my photo", "my b"]),
        (["my photo 1", "my photo 7"], ["my", "my photo 1"], ["my photo 1", "my photo 7"]),
        (["a 1 2 3", "b 4 5 6"], ["a", "b"], ["a", "b"]),
        (["a\tcat", "b c\tdog"], ["a", "b c"], ["a", "b c"]),
        (["a 1"], [], ["a 1"]),
    ],
)
def test_columns_are_told_from_names_with_spaces(lines, images, names):
    known = {image: image for image in images}
    assert without_columns(lines, known.get) == names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_in_any_encoding_of_unicode(tmp_path, encoding):
    (tmp_path / "x.txt").write_bytes("im (1)\r\n\r\n Straße \r\n".encode(encoding))
    assert read_lines(tmp_path / "x.txt") == ["im (1)", "Straße"]


def test_lists_in_other_encodings_are_refused(tmp_path):
    (tmp_path / "x.txt").write_bytes("Straße\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"x\.txt: cannot be read as text .*: save it as UTF-8"):
        read_lines(tmp_path / "x.txt")


def test_files_that_no_list_names(tmp_path):
    for name in ("a", "s/b", "c"):
        put(tmp_path, f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml")
    write_list(tmp_path, "JPEGImages/s/b.jpg 1")
    write_list(tmp_path, "Annotations/a.xml", name="y")
    write_list(tmp_path, name="empty")
    assert unlisted_files(tmp_path, ["x"]) == {
        tmp_path / "JPEGImages": ["c.jpg"],
        tmp_path / "Annotations": ["c.xml"],
    }
    write_list(tmp_path, "c", name="z")
    assert unlisted_files(tmp_path, ["x", "y"]) == {}


def test_folders_have_to_be_there(tmp_path):
    put(tmp_path, "JPEGImages/a.jpg")
    write_list(tmp_path, "a")
    with pytest.raises(
        UserError, match=r"Annotations is not a folder: .* or set data\.annotations"
    ):
        read(tmp_path, "x")
