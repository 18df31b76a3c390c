"""What tools/check_data.py finds in real data that was damaged in every way we know."""

import json
import re
import shutil
import struct

import cv2
import numpy as np
import pytest

from ssd.data_report import check_data
from ssd.settings import to_config

TRAIN = [f"BloodImage_{number:05}" for number in (*range(24), 338, 343)]
DEGENERATE = {
    "BloodImage_00338": "(504, 337, 504, 337)",
    "BloodImage_00343": "(181, 329, 181, 329)",
}
EXIF_TURNED = (
    b"\xff\xe1"
    + struct.pack(">H", 34)
    + (b"Exif\0\0" + b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0))
)


class Blood:
    """A small copy of BCCD, and ways to damage it."""

    def __init__(self, source, root):
        self.root = root
        self.lists = {"trainval": list(TRAIN), "test": []}
        listed = (source / "ImageSets" / "Main" / "test.txt").read_text().split()
        self.lists["test"] = [stem for stem in listed if stem not in TRAIN][:6]
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / folder).mkdir(parents=True)
        for stem in (*TRAIN, *self.lists["test"]):
            shutil.copyfile(source / "Annotations" / f"{stem}.xml", self.xml(stem))
            shutil.copyfile(source / "JPEGImages" / f"{stem}.jpg", self.jpg(stem))

    def xml(self, stem):
        return self.root / "Annotations" / f"{stem}.xml"

    def jpg(self, stem, suffix=".jpg"):
        return self.root / "JPEGImages" / f"{stem}{suffix}"

    def edit(self, stem, old, new):
        text = self.xml(stem).read_text()
        assert old in text
        self.xml(stem).write_text(text.replace(old, new, 1))

    def bytes(self, stem, change):
        self.jpg(stem).write_bytes(change(self.jpg(stem).read_bytes()))

    def add(self, stem, box, name="RBC"):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        sides = "".join(f"<{side}>{value}</{side}>" for side, value in corners)
        one = f"<object><name>{name}</name><bndbox>{sides}</bndbox></object></annotation>"
        self.edit(stem, "</annotation>", one)

    def check(self, tmp_path, **data):
        for name, stems in self.lists.items():
            path = self.root / "ImageSets" / "Main" / f"{name}.txt"
            path.write_text("".join(f"{stem}\n" for stem in stems))
        config = {"format": "voc", "root": str(self.root), "workers": 2} | data
        status = check_data(to_config({"data": config}), tmp_path / "out")
        content = json.loads((tmp_path / "out" / "data_check.json").read_text())
        return status, content["findings"]


@pytest.fixture
def blood(bccd, tmp_path):
    return Blood(bccd, tmp_path / "blood")


def smaller(data):
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", cv2.resize(pixels, (320, 240)))[1].tobytes()


def without_size(xml):
    start, end = xml.index("<size>"), xml.index("</size>") + len("</size>")
    return xml[:start] + xml[end:]


def claim(data, sides=(60000, 60000)):
    """The JPEG with other sides in its header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", *sides) + data[at + 4 :]


def test_every_kind_of_damage_is_found(blood, tmp_path, capsys):
    n = iter(TRAIN)
    broken, odd = [], []

    def expect(found, kind, *words):
        found.append((kind, words))

    def image(change, *words):
        stem = next(n)
        blood.bytes(stem, change)
        expect(broken, "unreadable image", stem, *words)

    image(lambda data: data[: len(data) // 2], "cut off")
    image(lambda data: b"", "empty")
    image(lambda data: b"no image at all", "neither JPEG")
    image(smaller, "320x240", "640x480")
    image(claim, "60000x60000")

    stem = next(n)
    blood.jpg(stem).unlink()
    expect(broken, "missing image", stem)

    def annotation(change, *words):
        stem = next(n)
        blood.xml(stem).write_text(change(blood.xml(stem).read_text()))
        expect(broken, "broken annotation", stem, *words)

    annotation(lambda xml: xml[: len(xml) // 2], "not sound XML")
    annotation(lambda xml: '<!DOCTYPE a [<!ENTITY e "x">]>' + xml, "not sound XML", "Entit")
    annotation(without_size, "size is missing")
    annotation(lambda xml: xml.replace("<width>640", "<width>0"), "width is 0")
    stem = next(n)
    blood.xml(stem).unlink()
    expect(broken, "broken annotation", stem, "cannot be read")

    def an_object(pattern, new, *words):
        stem = next(n)
        text, count = re.subn(pattern, new, blood.xml(stem).read_text(), count=1, flags=re.DOTALL)
        assert count == 1
        blood.xml(stem).write_text(text)
        expect(broken, "broken object", stem, "object 1", *words)

    an_object("<name>.*?</name>", "", "name is missing")
    an_object("<bndbox>.*?</bndbox>", "", "bndbox is missing")
    an_object("<xmin>", "<xmin>ten", "not a number")
    an_object("<ymax>.*?</ymax>", "<ymax>nan</ymax>", "'nan', not a number")

    stem = next(n)
    blood.add(stem, (50, 60, 40, 90))
    expect(odd, "degenerate box", stem, "(50, 60, 40, 90)")
    blood.add(stem, (700, 10, 720, 30))
    expect(odd, "degenerate box", stem, "(700, 10, 720, 30)")
    stem = next(n)
    blood.add(stem, (600, 400, 660, 470))
    expect(odd, "clamped box", stem, "(600, 400, 660, 470)")
    blood.add(stem, (1, 1, 640, 480))
    expect(odd, "box of the whole image", stem)
    blood.add(stem, (10, 10, 11, 60))
    expect(odd, "tiny box", stem)
    stem = next(n)
    blood.add(stem, (100, 100, 200, 210))
    blood.add(stem, (100, 101, 200, 210))
    expect(odd, "annotated twice", stem, "the same object twice")
    blood.add(stem, (300, 100, 350, 210))
    blood.add(stem, (300, 100, 350, 210), "WBC")
    expect(odd, "annotated twice", stem, "one box with two classes")
    stem = next(n)
    blood.add(stem, (100, 300, 140, 340), "rbc")
    expect(odd, "classes named alike", "'RBC', 'rbc'")
    blood.bytes(stem, lambda data: data[:2] + EXIF_TURNED + data[2:])
    expect(odd, "turned by EXIF", stem, "orientation 6")
    stem, other = next(n), blood.lists["test"][0]
    shutil.copyfile(blood.jpg(other), blood.jpg(stem))
    expect(odd, "one picture, two names", stem, other, "in both splits")
    stem = next(n)
    blood.lists["test"].append(stem)
    expect(odd, "trained and evaluated on", stem)
    stem = next(n)
    blood.lists["trainval"].append(stem)
    expect(broken, "listed twice", stem)
    blood.lists["trainval"].append("nowhere")
    expect(broken, "missing image", "nowhere")
    stem = next(n)
    cv2.imwrite(str(blood.jpg(stem, ".png")), np.zeros((480, 640, 3), np.uint8))
    expect(broken, "two images of one name", f"{stem}.jpg", f"{stem}.png")
    stem = next(n)
    text = blood.xml(stem).read_text()
    blood.xml(stem).write_text(text[: text.index("<object>")] + "</annotation>")
    expect(odd, "images without objects", stem)
    expect(odd, "rare classes", "rbc (1)")
    for stem, corners in DEGENERATE.items():
        expect(odd, "degenerate box", stem, corners)

    status, findings = blood.check(tmp_path)
    assert status == 1
    assert len(broken) + len(odd) >= 30
    for is_broken, expected in ((True, broken), (False, odd)):
        for kind, words in expected:
            assert any(
                finding["kind"] == kind
                and finding["is_broken"] == is_broken
                and all(word in finding["message"] for word in words)
                for finding in findings
            ), (kind, words, [f["message"] for f in findings if f["kind"] == kind])
    assert sum(finding["is_broken"] for finding in findings) == len(broken)
    told = capsys.readouterr().out
    assert f"{len(broken)} things would hurt training" in told
    assert "unreadable image (5)" in told


def test_the_published_data_has_two_degenerate_boxes_and_would_train(bccd, tmp_path, capsys):
    status, findings = Blood(bccd, tmp_path / "blood").check(tmp_path)
    assert status == 0
    assert [finding["kind"] for finding in findings] == ["degenerate box"] * 2
    for finding, (stem, corners) in zip(findings, DEGENERATE.items(), strict=True):
        assert stem in finding["message"]
        assert corners in finding["message"]
    assert "nothing here would hurt training" in capsys.readouterr().out


def test_a_class_that_is_asked_for_and_not_there(blood, tmp_path):
    status, findings = blood.check(tmp_path, classes=["RBC", "Neutrophil"])
    assert status == 1
    assert [f["kind"] for f in findings if f["is_broken"]] == ["class without objects"]
    others = [f["message"] for f in findings if f["kind"] == "objects of other classes"]
    assert [message.split(":")[0] for message in others] == ["train split", "evaluation split"]


def test_the_whole_command(tool, small_shapes, tmp_path):
    voc = ("--data.format", "voc", "--data.root", small_shapes)
    done = tool("check_data.py", *voc, "--model.input_size", "128")
    assert done.returncode == 0, done.stderr
    assert "nothing here would hurt training" in done.stdout
    assert {path.name for path in (tmp_path / "data_check").iterdir()} == {
        "data_check.json",
        "data_check.png",
    }
    image = next((small_shapes / "JPEGImages").iterdir())
    copy = tmp_path / "damaged"
    shutil.copytree(small_shapes, copy)
    (copy / "JPEGImages" / image.name).write_bytes(b"")
    done = tool("check_data.py", "--data.format", "voc", "--data.root", copy, "--out", "found")
    assert done.returncode == 1
    assert "1 thing would hurt training" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a config, or --data.format and --data.root"),
        (["--data.format", "voc", "--data.root", "nowhere"], "nowhere is not a folder"),
        (["nowhere.yaml"], "cannot read the config nowhere.yaml"),
        (["--data.rot", "x"], "did you mean data.root"),
    ],
)
def test_mistakes_are_told_in_one_line(mistaken, arguments, says):
    told = mistaken("check_data.py", *arguments)
    assert says in told
    assert len(told.splitlines()) == 1
