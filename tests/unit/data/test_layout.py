"""Recognition of layouts: names of splits, folders that are given, and what cannot be told apart.

Whole exports of tools, with their records: test_exports.py.
"""

import contextlib
import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.layout import locate, recognise
from ssd.data.source import load_data
from ssd.data.survey import role_of, roles_up

XML = "<annotation><size><width>4</width><height>4</height></size></annotation>"
COCO = json.dumps({"images": [], "annotations": [], "categories": []})


@pytest.fixture
def folder(tmp_path):
    """Writes files below a root; their content follows from their suffix."""
    root = tmp_path / "data"

    def write(*names, **contents):
        given = dict.fromkeys(names) | contents
        for name, content in given.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            default = {".xml": XML, ".json": COCO, ".txt": "0 .5 .5 .1 .1\n"}.get(path.suffix, "")
            path.write_text(default if content is None else content)
        return root

    return write


def found(root, **settings):
    config, _ = locate(DataConfig(**{"format": "auto", "root": str(root), **settings}))
    return config.format, config.train_split, config.eval_split


def lists(*names):
    return {f"ImageSets/Main/{name}.txt": "a\n" for name in names}


def voc_with(folder, *names, home=""):
    return folder(
        *(f"{home}Annotations/a.xml", f"{home}JPEGImages/a.jpg"),
        **{f"{home}{name}": text for name, text in lists(*names).items()},
    )


@pytest.mark.parametrize(
    ("names", "train", "evaluation"),
    [
        (("train", "val", "trainval", "test"), "trainval", "test"),
        (("train", "val", "test"), "train", "val"),
        (("train", "valid", "test"), "train", "valid"),
        (("training", "validation"), "training", "validation"),
        (("Train", "Test"), "Train", "Test"),
        (("train", "val", "trainval"), "train", "val"),
        (("trainval",), "trainval", "share"),
        (("train",), "train", "share"),
        (("default",), "default", "share"),
        (("default", "test"), "default", "test"),
        (("train", "val", "cat_train", "cat_val", "dog_train"), "train", "val"),
        (("cat_train", "dog_train", "cat_val"), ["cat_train", "dog_train"], "cat_val"),
        (("train2012", "val2012"), "train2012", "val2012"),
    ],
)
def test_splits_by_their_names(folder, names, train, evaluation):
    assert found(voc_with(folder, *names)) == ("voc", train, evaluation)


def test_given_splits_win(folder):
    root = voc_with(folder, "train", "val", "trainval", "test")
    assert found(root, train_split="train") == ("voc", "train", "val")
    assert found(root, eval_split="val") == ("voc", "train", "val")
    assert found(root, eval_split="train") == ("voc", "trainval", "train")
    assert found(root, eval_split=None) == ("voc", "trainval", None)
    assert found(root, eval_split="share") == ("voc", "trainval", "share")
    assert found(root, train_split="x", eval_split="y") == ("voc", "x", "y")


def test_nothing_to_train_on(folder):
    with pytest.raises(UserError, match="with test, val, but none of these is to train on: set"):
        found(voc_with(folder, "test", "val"))


def test_a_list_none_of_whose_images_is_there_is_told(folder):
    root = voc_with(folder, "train", "val")
    image_list = root / "ImageSets/Main/train.txt"
    image_list.write_text("gone1\ngone2\n")
    lost = f"{image_list} is left alone, since no image that it lists is there (2 images; "
    lost += "the first: 'gone1')"
    with pytest.raises(UserError) as refused:
        found(root)
    assert f"none of these is to train on; {lost}: put them below {root}" in str(refused.value)
    assert str(refused.value).endswith("correct the list, or set --data.train_split")
    voc_with(folder, "train", "trainval")
    image_list.write_text("gone1\ngone2\n")
    _, told = locate(DataConfig("auto", str(root)))
    assert told.endswith(f"; {lost}")


def test_lists_that_are_all_lost_are_told(folder):
    root = folder("imgs/a.jpg", "xml/a.xml", **{"train.txt": "x\n", "notes.txt": "made in May\n"})
    _, told = locate(DataConfig("auto", str(root)))
    assert "Pascal VOC without usable lists" in told
    assert f"; {root}/train.txt is left alone, since no image" in told
    assert "notes.txt" not in told


def test_a_set_to_evaluate_on_needs_no_other_split(folder):
    config = DataConfig("auto", str(voc_with(folder, "test")))
    located, _ = locate(config, to_train=False)
    assert (located.format, located.eval_split) == ("voc", "test")


def test_lists_that_tell_no_role(folder):
    flags = "give --data.train_split a or --data.train_split b$"
    with pytest.raises(UserError, match=flags):
        found(voc_with(folder, "a", "b"))
    assert found(voc_with(folder, "a", "b"), train_split="b") == ("voc", "b", "share")


def test_folders_of_voc(folder):
    voc_with(folder, "trainval", "test", home="VOC2007/")
    root = voc_with(folder, "trainval", "test", home="VOC2012/")
    (root / "VOC2012/ImageSets/Main/test.txt").write_text("unpublished\n")
    both = ["VOC2007/trainval", "VOC2012/trainval"]
    assert found(root) == ("voc", both, "VOC2007/test")
    voc_with(folder, "trainval", "test")
    assert found(root) == ("voc", "trainval", "test")


def test_lists_beside_the_folders(folder):
    contents = {"train.txt": "imgs/a.jpg\n", "val.txt": "b 1\n", "notes.txt": "made in May\n"}
    root = folder("imgs/a.jpg", "imgs/b.jpg", "xml/a.xml", "xml/b.xml", **contents)
    assert found(root) == ("voc", "train.txt", "val.txt")


@pytest.mark.parametrize(
    ("names", "train", "evaluation"),
    [
        (("a.jpg", "a.xml"), ".", "share"),
        (("my/a.jpg", "my/a.xml"), "my", "share"),
        (("images/a.jpg", "annotations/a.xml"), "annotations", "share"),
        (("images/x/a.jpg", "xmls/x/a.xml", "xmls/y/b.xml"), "xmls", "share"),
        (("train/a.jpg", "train/a.xml", "valid/b.jpg", "valid/b.xml"), "train", "valid"),
        (("Train/a.xml", "Test/b.xml"), "Train", "Test"),
        (("train/Annotations/a.xml", "val/Annotations/b.xml"), "train", "val"),
        (("xml/train_2/a.xml", "xml/train_3/b.xml"), ["xml/train_2", "xml/train_3"], "share"),
    ],
)
def test_xml_files_without_lists(folder, names, train, evaluation):
    assert found(folder(*names)) == ("voc", train, evaluation)


@pytest.mark.parametrize(
    ("names", "train", "evaluation"),
    [
        (("annotations/instances_train.json", "images/a.jpg"), "train", "share"),
        (
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json")
            + ("annotations/captions_train2017.json", "train2017/a.jpg", "val2017/b.jpg"),
            *("train2017", "val2017"),
        ),
        (("result.json", "images/a.jpg"), "result.json", "share"),
        (
            ("photos/a.jpg", "annotations/train.json", "annotations/test.json"),
            *("annotations/train.json", "annotations/test.json"),
        ),
        (
            ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
            *("train/_annotations.coco.json", "valid/_annotations.coco.json"),
        ),
    ],
)
def test_files_of_coco(folder, names, train, evaluation):
    assert found(folder(*names)) == ("coco", train, evaluation)


def test_other_json_files_are_not_coco(folder):
    root = folder("train.json", **{"detections.json": "[]", "package.json": "{}"})
    assert found(root) == ("coco", "train.json", "share")


@pytest.mark.parametrize(
    "content", ["", COCO[:-10], '{"images": [], "annotations": []}', '{"images": []}', "{}"]
)
@pytest.mark.parametrize(
    "files", ["annotations/instances_{}.json", "{}/_annotations.coco.json", "{}.json"]
)
@pytest.mark.parametrize("damaged", ["train", "val"])
def test_a_damaged_file_of_coco_is_not_replaced(folder, files, content, damaged):
    names = [files.format(role) for role in ("train", "val", "test")]
    root = folder(*names, **{files.format(damaged): content})
    format, *used = found(root)
    assert (format, used) == ("coco", names[:2])
    with pytest.raises(UserError, match=f"{files.format(damaged)}: ") as refused:
        load_data(DataConfig(format, str(root)), files.format(damaged), None)
    assert "\n" not in str(refused.value)


def test_files_beside_those_of_coco_may_hold_something_else(folder):
    other = {"val_detections.json": "[]", "test_config.json": '{"a": 1}', "val.json": "[1"}
    root = folder("train.json", **other)
    assert found(root) == ("coco", "train.json", "share")


def test_two_files_of_coco_for_one_role(folder):
    root = folder(
        "annotations/instances_train.json", "train/_annotations.coco.json", "images/a.jpg"
    )
    with pytest.raises(UserError, match="give --data.train_split train or --data.train_split trai"):
        found(root)


@pytest.mark.parametrize(
    ("names", "train", "evaluation"),
    [
        (("images/a.jpg", "labels/a.txt"), "images", "share"),
        (("a.jpg", "a.txt", "b.jpg"), ".", "share"),
        (("images/train/a.jpg", "labels/train/a.txt"), "images/train", "share"),
        (("train/images/a.jpg", "train/labels/a.txt", "test/images/b.jpg"), "train", "share"),
        (
            ("Images/train/a.jpg", "Labels/train/a.txt", "Images/val/b.jpg", "Labels/val/b.txt"),
            *("Images/train", "Images/val"),
        ),
    ],
)
def test_labels_of_yolo(folder, names, train, evaluation):
    assert found(folder(*names)) == ("yolo", train, evaluation)


def test_splits_of_data_yaml(folder):
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [a]"
    root = folder("train/images/a.jpg", "train/labels/a.txt", **{"data.yaml": text})
    assert found(root) == ("yolo", "train", "share")
    folder("valid/images/b.jpg", "valid/labels/b.txt")
    assert found(root) == ("yolo", "train", "val")


YOLO = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [a]"


def yolo_with(folder, *splits, home=""):
    for split in splits:
        folder(f"{home}{split}/images/a.jpg", f"{home}{split}/labels/a.txt")
    return folder(**{f"{home}data.yaml": YOLO})


def told_of(root, **settings):
    return locate(DataConfig("auto", str(root), **settings))[1]


def test_a_split_of_data_yaml_that_is_not_there_is_told(folder):
    root = yolo_with(folder, "train")
    for role, name in (("val", "valid"), ("test", "test")):
        gone = f"; {role} of {root}/data.yaml, '../{name}/images', is not there"
        assert gone in told_of(root)
        assert gone not in told_of(root, eval_split=None)
    yolo_with(folder, "valid")
    assert "is not there" not in told_of(root)  # no one would evaluate on the test set


def test_training_images_of_data_yaml_that_are_not_there(folder):
    root = yolo_with(folder, "valid", "test")
    message = (
        f"none of these is to train on; train of {root}/data.yaml, '../train/images', is not "
        "there: correct it, or set --data.train_split$"
    )
    with pytest.raises(UserError, match=message):
        found(root)
    other = yolo_with(folder, "set", home="other/") / "other"
    assert "without usable splits in data.yaml" in told_of(other)
    assert f"; train of {other}/data.yaml, '../train/images', is not there" in told_of(other)


def test_two_exports_of_yolo_below_one_root(folder):
    root = yolo_with(folder, "train", "valid", home="A/")
    assert found(root) == ("yolo", "train", "val")
    folder(**{"A/labels/data.yaml": YOLO})  # a copy means the same files
    assert found(root) == ("yolo", "train", "val")
    yolo_with(folder, "train", "valid", home="B/")
    flags = f"give --data.root {root}/A or --data.root {root}/B, or put one description"
    with pytest.raises(UserError, match=flags):
        found(root)
    with pytest.raises(UserError, match=flags):
        load_data(DataConfig("yolo", str(root)), "train", None)


def test_texts_beside_images_are_not_always_labels(folder):
    root = folder("a.jpg", "a.xml", **{"a.txt": "a caption\n"})
    assert found(root) == ("voc", ".", "share")


def test_two_formats_in_one_folder(folder):
    root = folder("images/a.jpg", "labels/a.txt", "Annotations/a.xml")
    message = (
        "can be read as Pascal VOC .* or as YOLO .*: give --data.format voc or --data.format yolo"
    )
    with pytest.raises(UserError, match=message):
        found(root)
    assert found(root, format="yolo") == ("yolo", "images", "share")
    assert found(root, format="voc") == ("voc", "Annotations", "share")
    assert found(root, annotations="labels") == ("yolo", "images", "share")


def test_nothing_that_can_be_read(folder, tmp_path):
    root = folder("images/a.jpg", "README.md")
    with pytest.raises(UserError, match="no data set can be read; looked for VOC .* --data.format"):
        found(root)
    with pytest.raises(UserError, match="no data set can be read as data.format coco"):
        found(root, format="coco")
    with pytest.raises(UserError, match="is not a folder: set it to"):
        recognise(tmp_path / "nowhere", DataConfig(format="auto"))
    with pytest.raises(UserError, match="data.root is not set: give --data.root"):
        locate(DataConfig(format="auto"))


@pytest.mark.parametrize("name", ["nowhere", "..", "/", "a.jpg"])
def test_folders_that_are_given_lie_below_the_root(folder, name):
    root = folder("a.jpg", "a.xml")
    with pytest.raises(UserError, match="is no folder below data.root"):
        found(root, annotations=name)


def test_hidden_and_looping_folders(folder):
    root = folder("a.jpg", "a.xml", ".cache/b.xml", "__MACOSX/._a.xml", "train/._x.xml")
    (root / "loop").symlink_to(root)
    assert found(root) == ("voc", ".", "share")


def test_settings_without_auto_stay_as_they_are(tmp_path):
    config = DataConfig("voc", str(tmp_path / "nowhere"), "a", "b")
    assert locate(config) == (config, "")
    shapes = DataConfig("shapes", eval_split="trainval")
    assert locate(shapes)[0].train_split == "trainval"
    assert locate(shapes)[0].eval_split == "trainval"


def test_the_home_folder(monkeypatch, folder):
    root = folder("data/a.jpg", "data/a.xml")
    monkeypatch.setenv("HOME", str(root))
    config, _ = locate(DataConfig("auto", "~/data"))
    assert config.root == f"{root}/data"


def test_what_was_found_is_found_again(voc):
    voc.fill(4)
    (voc.root / "JPEGImages").rename(voc.root / "images")
    (voc.root / "Annotations").rename(voc.root / "annotations")
    config, _ = locate(DataConfig("auto", str(voc.root), eval_split=None))
    assert locate(config) == (config, "")
    assert len(load_data(config, "trainval", None).records) == 4


def test_images_without_annotation_and_without_lists(voc):
    voc.fill(4)
    (voc.root / "ImageSets").rename(voc.root.parent / "gone")
    for name in ("new", "newer"):
        voc.image(name)
    remedy = "set --data.max_unreadable 0.34 .* or set data.background true if it shows no object"
    with pytest.raises(UserError, match=f"2 of 6 images .*{remedy}"):
        load_located(voc.root)
    data = load_located(voc.root, max_unreadable=0.5)
    assert (len(data.records), len(data.unusable)) == (4, 2)
    data = load_located(voc.root, background=True)
    assert (len(data.records), len(data.unusable)) == (6, 0)


def test_an_image_that_its_annotation_cannot_use_counts_once(voc, tmp_path):
    voc.fill(4)
    (voc.root / "ImageSets").rename(tmp_path / "gone")
    first = sorted((voc.root / "JPEGImages").iterdir())[0]
    first.symlink_to(first.rename(tmp_path / "elsewhere.jpg"))
    data = load_located(voc.root)
    assert (len(data.records), len(data.unusable)) == (3, 1)


def load_located(root, **settings):
    config, _ = locate(DataConfig("auto", str(root), **{"eval_split": None, **settings}))
    return load_data(config, config.train_split, None)


def test_annotations_of_two_splits_for_one_folder_of_images(voc):
    voc.fill(4)
    (voc.root / "ImageSets").rename(voc.root.parent / "gone")
    for at, name in enumerate(sorted((voc.root / "Annotations").iterdir())):
        own = voc.root / "Annotations" / ("train" if at < 3 else "val")
        own.mkdir(exist_ok=True)
        name.rename(own / name.name)
    for background in (False, True):
        data = load_located(voc.root, background=background)
        assert (len(data.records), len(data.unusable)) == (3, 0)


@pytest.mark.parametrize("broken", ["train", "valid"])
def test_a_split_all_of_whose_xml_files_are_broken(folder, broken):
    names = {f"{role}/{role}.xml": "" if role == broken else XML for role in ("train", "valid")}
    root = folder("train/train.jpg", "valid/valid.jpg", **names)
    assert found(root) == ("voc", "train", "valid")
    with pytest.raises(UserError, match=f"{broken}.xml: is not well-formed XML"):
        load_data(DataConfig("voc", str(root)), broken, None)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(("train", "train"), ("TrainImages", "train"), ("instances_train2017", "train")),
        *(("TRAIN", "train"), ("trainval", "trainval"), ("TrainVal", "trainval")),
        *(("my-valid-set", "val"), ("cat_test", "test"), ("testing", "test")),
        *(("latest", ""), ("contest", ""), ("default", ""), ("", ""), ("trained", "")),
    ],
)
def test_roles(name, role):
    assert role_of(name) == role


def test_the_innermost_folder_with_a_role():
    path = PurePosixPath("test/val/images/x")
    assert roles_up(path) == (PurePosixPath("test/val"), "val")
    assert roles_up(PurePosixPath(".")) == (PurePosixPath("."), "")


def test_every_recipe_for_own_data_finds_the_format(repository: Path):
    from ssd.config.settings import read_config

    for name in ("custom_voc", "custom_coco"):
        data = read_config([repository / "configs" / f"{name}.yaml"]).data
        assert (data.format, data.train_split, data.eval_split) == ("auto", "auto", "auto")


def test_the_current_folder(voc, monkeypatch):
    voc.fill(4)
    monkeypatch.chdir(voc.root)
    assert found(Path()) == ("voc", "trainval", "share")


@given(
    st.sampled_from(["data.yaml", "obj.data", "classes.txt", "a.txt", "x.json", "a.xml"]),
    st.binary(max_size=100) | st.text("{}[]:,- \nimagescotrvlnd01\"'", max_size=60).map(str.encode),
)
def test_no_content_gives_a_traceback(tmp_path_factory, name, content):
    root = tmp_path_factory.mktemp("fuzzed")
    for stem, text in (("a.jpg", b""), ("b.jpg", b""), ("b.txt", b"0 .5 .5 .1 .1\n")):
        (root / stem).write_bytes(text)
    (root / name).write_bytes(content)
    with contextlib.suppress(UserError):
        found(root)
