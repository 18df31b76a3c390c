"""The check of a data set finds every kind of damage, by file, and nothing else."""

import json
import re
import shutil
import struct

import cv2
import numpy as np
import pytest

from ssd.config import DataConfig, LossConfig, ModelConfig
from ssd.doctor.report import report_data

OWN_ODDITIES = {"BloodImage_00338", "BloodImage_00343"}
STEM = re.compile(r"BloodImage_\d{5}")


class Files:
    """The two files of one image."""

    def __init__(self, root, stem):
        self.root, self.stem = root, stem
        self.image = root / "JPEGImages" / f"{stem}.jpg"
        self.xml = root / "Annotations" / f"{stem}.xml"

    def edit(self, pattern, instead):
        text = self.xml.read_text()
        edited, count = re.subn(pattern, instead, text, count=1, flags=re.DOTALL)
        assert count == 1, (self.stem, pattern)
        self.xml.write_text(edited)

    def corners(self, *corners):
        """Gives the first object another box."""
        fields = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        inner = "".join(f"<{field}>{value}</{field}>" for field, value in fields)
        self.edit("<bndbox>.*?</bndbox>", f"<bndbox>{inner}</bndbox>")

    def patch_image(self, change):
        self.image.write_bytes(change(self.image.read_bytes()))

    def resize(self, width, height):
        pixels = cv2.resize(cv2.imread(str(self.image)), (width, height))
        cv2.imwrite(str(self.image), pixels)

    def list_in(self, name, stem):
        with (self.root / f"ImageSets/Main/{name}.txt").open("a") as file:
            file.write(f"{stem}\n")

    def repeat_object(self, label=None):
        first = re.search("<object>.*?</object>", self.xml.read_text(), re.DOTALL)[0]
        if label:
            first = re.sub("<name>.*?</name>", f"<name>{label}</name>", first)
        self.edit("</annotation>", first + "</annotation>")


def exif_rotated(data):
    entry = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    content = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry
    return data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content + data[2:]


def huge_header(data):
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 60000, 60000) + data[at + 4 :]


def bomb(f):
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    f.edit("<annotation>", f'<!DOCTYPE a [<!ENTITY e0 "ha">{levels}]><annotation>')
    f.edit("<name>.*?</name>", "<name>&e9;</name>")


def squash(f):
    f.resize(640, 100)
    f.edit("<height>480", "<height>100")


def replace_by_folder(f):
    f.image.unlink()
    f.image.mkdir()


def unlist(f):
    for path in (f.root / "ImageSets/Main").iterdir():
        path.write_text(path.read_text().replace(f"{f.stem}\n", ""))


DAMAGES = [
    ("unreadable image", True, lambda f: f.patch_image(lambda data: data[: len(data) // 2])),
    ("unreadable image", True, lambda f: f.image.write_bytes(b"")),
    ("unreadable image", True, lambda f: f.image.write_text("not an image")),
    ("unreadable image", True, lambda f: f.patch_image(huge_header)),
    ("unreadable image", True, lambda f: f.patch_image(lambda data: data[:30] + data[-300:])),
    ("missing image", True, replace_by_folder),
    ("missing image", True, lambda f: f.image.unlink()),
    ("contradicting size", True, lambda f: f.resize(320, 240)),
    ("missing annotation", True, lambda f: f.xml.unlink()),
    ("broken annotation", True, lambda f: f.xml.write_text(f.xml.read_text()[:700])),
    ("broken annotation", True, bomb),
    ("size missing", False, lambda f: f.edit("<size>.*</size>", "")),
    ("size missing", False, lambda f: f.edit("<width>640<", "<width>0<")),
    ("broken object", True, lambda f: f.edit("<name>.*?</name>", "")),
    ("broken object", True, lambda f: f.edit("<bndbox>.*?</bndbox>", "")),
    ("broken object", True, lambda f: f.corners("ten", 10, 50, 50)),
    ("broken object", True, lambda f: f.corners(10, "NaN", 50, 50)),
    ("difficult is no number", False, lambda f: f.edit("<difficult>0<", "<difficult>yes<")),
    ("listed twice in one list", False, lambda f: f.list_in("trainval", f.stem)),
    ("missing image", True, lambda f: f.list_in("trainval", f"{f.stem}_gone")),
    ("ambiguous name", True, lambda f: shutil.copy(f.image, f.image.with_suffix(".png"))),
    ("corners swapped", False, lambda f: f.corners(90, 10, 50, 50)),
    ("degenerate box", False, lambda f: f.corners(90, 10, 90, 50)),
    ("degenerate box", False, lambda f: f.corners(700, 10, 750, 50)),
    ("clamped box", False, lambda f: f.corners(600, 10, 700, 50)),
    ("box below one pixel", False, lambda f: f.corners(100, 100, 101, 200)),
    ("box of the whole image", False, lambda f: f.corners(1, 1, 640, 480)),
    ("object annotated twice", False, lambda f: f.repeat_object()),
    ("two classes in one box", False, lambda f: f.repeat_object("Platelets")),
    ("class names alike", False, lambda f: f.edit("<name>RBC<", "<name>r-bc<")),
    ("rare class", False, lambda f: f.edit("<name>.*?<", "<name>eosinophil<")),
    ("images without objects", False, lambda f: f.edit("<object>.*</object>", "")),
    ("image in train and eval", False, lambda f: f.list_in("test", f.stem)),
    (
        "turned by Exif, boxes turned with the image",
        False,
        lambda f: f.patch_image(exif_rotated),
    ),
    ("extreme image shape", False, squash),
    ("unlisted files", False, unlist),
]


def check(root, out, workers=2):
    data = DataConfig("voc", str(root), train_split="trainval", eval_split="test", workers=workers)
    checked = report_data(data, ModelConfig(input_size=300), LossConfig(), out)
    return checked.is_broken, json.loads((out / "data_check.json").read_text())


def test_every_damage_is_found_and_nothing_else(bccd, tmp_path, capsys):
    root = shutil.copytree(bccd, tmp_path / "bccd")
    lines = (root / "ImageSets/Main/trainval.txt").read_text().split()
    stems = iter(stem for stem in lines if stem not in OWN_ODDITIES)
    eval_stem = (root / "ImageSets/Main/test.txt").read_text().split()[5]
    expected = [("degenerate box", False, stem) for stem in sorted(OWN_ODDITIES)]
    for kind, is_broken, damage in DAMAGES:
        files = Files(root, next(stems))
        damage(files)
        expected.append((kind, is_broken, files.stem))
    source, twin = Files(root, next(stems)), Files(root, next(stems))
    shutil.copy(source.image, twin.image)
    expected.append(("identical images", False, twin.stem))
    source = Files(root, next(stems))
    shutil.copy(source.image, Files(root, eval_stem).image)
    expected.append(("identical images in train and eval", False, eval_stem))

    is_broken, details = check(root, tmp_path / "out")

    assert is_broken
    found = [(f["kind"], f["is_broken"], f["message"]) for f in details["findings"]]
    for kind, is_broken, stem in expected:
        told = [line for k, b, line in found if (k, b) == (kind, is_broken)]
        assert any(stem in line for line in told), (kind, stem, told)
    damaged = {stem for _, _, stem in expected} | {twin.stem, source.stem}
    for _, _, line in found:
        assert "\n" not in line
        assert set(STEM.findall(line)) & damaged, line
    assert len({line for _, _, line in found}) == len(found)
    printed = capsys.readouterr().out
    assert printed.index("BROKEN") < printed.index("odd  ")
    assert "would hurt training" in printed.splitlines()[-1]


def test_bccd_as_published_has_two_degenerate_boxes_and_nothing_else(bccd, tmp_path, capsys):
    is_broken, details = check(bccd, tmp_path / "out", workers=0)
    assert not is_broken
    assert [finding["kind"] for finding in details["findings"]] == ["degenerate box"] * 2
    found = {stem for f in details["findings"] for stem in STEM.findall(f["message"])}
    assert found == OWN_ODDITIES
    assert (details["images"], details["eval_images"]) == (292, 72)
    by_size = details["statistics"]["sizes"]
    assert sum(row["objects"] for row in by_size) == 3941
    classes = details["statistics"]["classes"]
    per_class = [size for row in classes for size in row["by_size"]]
    assert sum(row["unmatched"] for row in per_class) == sum(row["unmatched"] for row in by_size)
    assert (tmp_path / "out/data_check.png").read_bytes().startswith(b"\x89PNG")
    assert (
        "nothing would hurt training; 2 findings worth a look"
        in capsys.readouterr().out.splitlines()[-1]
    )


@pytest.fixture
def coco(tmp_path):
    """A COCO folder of two splits with three images each."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, seed in (("first", 0), ("second", 1)):
        rng = np.random.default_rng(seed)
        (root / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, 4):
            name = f"{split}{number}.jpg"
            path = root / "images" / split / name
            cv2.imwrite(str(path), rng.integers(0, 256, (48, 64, 3), np.uint8))
            images.append({"id": number, "file_name": name, "width": 64, "height": 48})
            box = {"category_id": 1 + number % 2, "bbox": [4, 5, 30, 20]}
            annotations.append({"id": 10 + number, "image_id": number, **box})
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def flags(root):
    splits = ("--data.train_split", "first", "--data.eval_split", "second")
    return "--data.format", "coco", "--data.root", str(root), *splits, "--out", "out"


def test_the_command_on_coco(tool, coco, tmp_path):
    path = coco / "annotations/instances_first.json"
    content = json.loads(path.read_text())
    content["images"].append({"id": 9, "file_name": "gone.jpg", "width": 8, "height": 8})
    content["annotations"] += [
        {"id": 11, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"id": 50, "image_id": 77, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"id": 51, "image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5]},
        {"id": 52, "image_id": 2, "category_id": 2, "bbox": [40, 30, 26, 10]},
        {"id": 53, "image_id": 2, "category_id": 2, "bbox": [5, 30, 0, 10]},
    ]
    path.write_text(json.dumps(content))

    finished = tool("check_data.py", *flags(coco))

    assert finished.returncode == 1, finished.stderr
    details = json.loads((tmp_path / "out/data_check.json").read_text())
    found = {
        (f["kind"], f["is_broken"], *re.findall(r" id \d+", f["message"]))
        for f in details["findings"]
    }
    assert found == {
        ("missing image", True, " id 9"),
        ("annotation id repeated", False, " id 11"),
        ("annotation without image", True, " id 50"),
        ("broken object", True, " id 51"),
        ("clamped box", False, " id 52"),
        ("degenerate box", False, " id 53"),
    }
    assert "gone.jpg" in finished.stdout
    assert finished.stdout.splitlines()[-1].startswith("3 findings would hurt training")


@pytest.mark.parametrize(("lost", "left"), [("second", "first"), ("first", "second")])
def test_a_split_that_cannot_be_read_leaves_the_other_to_be_checked(
    coco, tmp_path, capsys, lost, left
):
    (coco / f"annotations/instances_{lost}.json").write_text("{")
    (coco / f"images/{left}/{left}2.jpg").write_bytes(b"")
    data = DataConfig("coco", str(coco), train_split="first", eval_split="second")
    assert report_data(data, ModelConfig(), LossConfig(), tmp_path / "out").is_broken
    printed = capsys.readouterr().out
    assert "BROKEN  unreadable split: 1" in printed
    assert f"{left}2.jpg: image is empty" in printed
    assert "2 objects" in printed  # without that of the empty image


def test_nothing_readable_is_told_too(coco, tmp_path, capsys):
    for path in (coco / "annotations").iterdir():
        path.unlink()
    data = DataConfig("coco", str(coco), train_split="first", eval_split="second")
    assert report_data(data, ModelConfig(), LossConfig(), tmp_path / "out").is_broken
    assert "BROKEN  unreadable split: 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (["--data.root", "nowhere"], "nowhere is not a folder"),
        (["--data.rot", "x"], "did you mean"),
        (["nothing.yaml"], "nothing.yaml"),
        (["--data.format", "kitti"], "kitti"),
        (["--model.box_sizes", "[1, 2]"], "model.box_sizes"),
        (["--out", "a_file"], "a_file"),
        (["--show", "0"], "--show is 0"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(mistaken, coco, tmp_path, mistake, told):
    (tmp_path / "a_file").write_text("")
    error = mistaken("check_data.py", *flags(coco), *mistake)
    assert len(error.splitlines()) == 1
    assert error.startswith("error: ")
    assert told in error
